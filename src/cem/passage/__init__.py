"""When a curve first passes a threshold."""
