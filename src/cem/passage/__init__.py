"""First passage: when a curve first crosses a threshold."""
