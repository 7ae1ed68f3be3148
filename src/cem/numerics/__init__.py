"""Arithmetic that knows nothing of units or modes: small matrices, normal distribution, threads."""
