"""Bytes on a disk: whole files or none, and their digests."""
