"""Compiled kernels of the E and the M step."""
