"""Long data frames become the columns of a panel."""
