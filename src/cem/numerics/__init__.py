"""Numerics without units or modes: small matrices, normal distribution, threads."""
