"""A fitted model as a C header."""
