"""Convert long data frames to the columns of a panel."""
