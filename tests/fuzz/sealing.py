"""Files taken apart and put together again with right lengths, offsets and digests: what gets through to inner rules.

Written from docs/file-format.md, without the package's own reader and writer.
"""

import hashlib
import json
import struct
from dataclasses import dataclass, field

import numpy as np

PREFIX = struct.Struct("<8sIQ")
MAGIC = b"\x89CEM\r\n\x1a\n"
UNIT = struct.Struct("<8sII16s")
DTYPES = {"f8": "<f8", "i8": "<i8"}


@dataclass
class Parts:
    """A model file as objects that can be changed.

    `raw` replaces marks in the text of the header by text that JSON writers do not write: duplicate keys, NaN, nesting.
    """

    version: int
    header: dict
    arrays: dict
    raw: dict = field(default_factory=dict)
    entries: dict = field(default_factory=dict)  # what to write over an array's entry in the header


def taken_apart(content):
    _, version, length = PREFIX.unpack_from(content)
    header = json.loads(content[PREFIX.size : PREFIX.size + length])
    data, arrays = content[PREFIX.size + length : -32], {}
    for entry in header.pop("arrays"):
        count = int(np.prod(entry["shape"], dtype=np.int64))
        flat = np.frombuffer(data, DTYPES[entry["dtype"]], count, entry["offset"])
        arrays[entry["name"]] = flat.reshape(entry["shape"]).copy()
    return Parts(version, header, arrays)


def sealed(parts):
    """The bytes, with offsets, lengths and digest that agree."""
    entries, chunks, offset = [], [], 0
    for name, array in parts.arrays.items():
        kind = "i8" if array.dtype.kind == "i" else "f8"
        data = np.ascontiguousarray(array, dtype=DTYPES[kind]).tobytes()
        entry = {"name": name, "dtype": kind, "shape": list(array.shape), "offset": offset}
        entries.append({**entry, **parts.entries.get(name, {})})
        chunks.append(data)
        offset += len(data)
    header = {**parts.header, "arrays": entries} if isinstance(parts.header, dict) else parts.header
    text = json.dumps(header)
    for mark, replacement in parts.raw.items():
        text = text.replace(json.dumps(mark), replacement).replace(mark, replacement)
    encoded = text.encode("ascii", "backslashreplace")
    encoded += b" " * (-(len(encoded) + PREFIX.size) % 8)
    return with_digest(PREFIX.pack(MAGIC, parts.version, len(encoded)) + encoded + b"".join(chunks))


def with_digest(body):
    return body + hashlib.sha256(body).digest()


def sealed_unit(numbers, fingerprint, *, version=1, count=None):
    """The bytes of a saved unit, with a checksum that agrees."""
    numbers = np.asarray(numbers, dtype="<f8")
    body = UNIT.pack(b"CEMUNIT\x00", version, len(numbers) if count is None else count, fingerprint) + numbers.tobytes()
    return body + hashlib.sha256(body).digest()[:16]


def unit_numbers(content):
    """Numbers of a saved unit, and the fingerprint of its scorer."""
    fingerprint = UNIT.unpack_from(content)[3]
    return np.frombuffer(content, "<f8", (len(content) - UNIT.size - 16) // 8, UNIT.size).copy(), fingerprint
