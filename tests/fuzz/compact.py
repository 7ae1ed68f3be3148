"""Thrift's compact protocol as trees that can be changed and written again: footers and page headers of Parquet.

A struct is a list of [key, type, value], a list (type of items, [values]); integers, bytes and floats are themselves.
"""

import struct

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
INTEGERS = (4, 5, 6)


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return value

    def value(self, kind):
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind in INTEGERS:
            number = self.varint()
            return (number >> 1) ^ -(number & 1)
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            head = self.data[self.at]
            self.at += 1
            count = head >> 4
            count = self.varint() if count == 15 else count
            if head & 15 in (TRUE, FALSE):
                self.at += count
                return head & 15, list(self.data[self.at - count : self.at])
            return head & 15, [self.value(head & 15) for _ in range(count)]
        size = {BYTE: 1, DOUBLE: 8}.get(kind)
        size = self.varint() if size is None else size
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def struct(self):
        fields, key = [], 0
        while True:
            head = self.data[self.at]
            self.at += 1
            if head == 0:
                return fields
            key = key + (head >> 4) if head >> 4 else self.value(4)
            fields.append([key, head & 15, self.value(head & 15)])


def varint(value):
    out = bytearray()
    value &= (1 << 70) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(value):
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def written(kind, value):
    """Bytes of a value; keys out of order are written in the long form."""
    if kind in (TRUE, FALSE):
        return b""
    if kind in INTEGERS:
        return integer(value)
    if kind == STRUCT:
        out, last = bytearray(), 0
        for key, inner, item in value:
            inner = (TRUE if item else FALSE) if inner in (TRUE, FALSE) else inner
            if 0 < key - last < 16:
                out.append((key - last) << 4 | inner)
            else:
                out += bytes([inner]) + integer(key)
            out += written(inner, item)
            last = key
        return bytes(out) + b"\0"
    if kind in (LIST, SET):
        inner, items = value
        head = bytes([len(items) << 4 | inner]) if len(items) < 15 else bytes([0xF0 | inner]) + varint(len(items))
        if inner in (TRUE, FALSE):
            return head + bytes(items)
        return head + b"".join(written(inner, item) for item in items)
    return value if kind in (BYTE, DOUBLE) else varint(len(value)) + value


def footer(file):
    """(tree, where it begins) of a Parquet file's bytes."""
    (length,) = struct.unpack("<I", file[-8:-4])
    return Reader(file, len(file) - 8 - length).struct(), len(file) - 8 - length


def sealed(body, tree):
    """A Parquet file of these pages and this footer, its length as it is."""
    data = written(STRUCT, tree)
    return body + data + struct.pack("<I", len(data)) + b"PAR1"


def places(tree):
    """Every [key, type, value] in a tree, at any depth."""
    found = []
    for entry in tree:
        found.append(entry)
        if entry[1] == STRUCT:
            found += places(entry[2])
        elif entry[1] in (LIST, SET) and entry[2][0] == STRUCT:
            for item in entry[2][1]:
                found += places(item)
    return found


def get(tree, key):
    return next((entry[2] for entry in tree if entry[0] == key), None)
