"""SHA-256 without `hashlib`, which loads OpenSSL; that takes longer than the rest of loading a model."""

from __future__ import annotations

try:
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found]  # CPython from 3.12
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found]  # CPython 3.11
    except ImportError:
        from hashlib import sha256 as _sha256

__all__ = ["sha256"]


def sha256(data: bytes | memoryview) -> bytes:
    """The digest, 32 bytes."""
    found: bytes = _sha256(data).digest()
    return found
