"""Measure Parquet files before a backend reads them: how large their pages grow, and whether the parts are consistent.

The sizes in the footer may be wrong, and a page of a few bytes may expand to a billion cells. So this module walks
through the headers of all pages to be read, without unpacking them, at some 15 µs per page. Inconsistent files are
refused, so that readers in C++ and Rust never see them.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cem.errors import PanelError
from cem.tables.sources import CELL, Bound

__all__ = ["ParquetSizes", "parquet_names", "parquet_sizes"]

# Type codes of the compact protocol, and of Parquet's own enumerations.
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_I32 = 5
_PLAIN_BYTES = (1, 4, 8, 12, 4, 8, 4)  # smallest size of a value in a dictionary, by its type
_BYTE_ARRAY, _FIXED = 6, 7
_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 1, 2, 3
_DELTA_BYTE_ARRAY = 7
_REPEATED = 2
_DEEPEST = 64
_WINDOWS = (1 << 9, 1 << 14, 1 << 24)
_STRING = 16  # bytes of a string's entry in a column, besides the string


@dataclass
class ParquetSizes:
    """Sizes of the columns to be read.

    Attributes
    ----------
    names : tuple of str
        Of all columns.
    n_rows : int
    grown : int
        Bytes of the table, with repeated strings counted once per page, plus the largest page.
    shared : dict of str to int
        Columns whose strings a page may share, so that they may grow by more than ``grown`` counts: the bytes of the
        largest page.
    prefixed : set of str
        Those of ``shared`` whose strings are stored as differences from the one before (DELTA_BYTE_ARRAY).
    worst : int
        Largest number of bytes that the columns in ``shared`` may add to ``grown``.
    """

    names: tuple[str, ...]
    n_rows: int = 0
    grown: int = 0
    shared: dict[str, int] = field(default_factory=dict)
    prefixed: set[str] = field(default_factory=set)
    worst: int = 0


class _Damaged(Exception):
    """The file is not consistent; becomes a PanelError that names it."""


@dataclass
class _Leaf:
    """A column of values; ``top`` is the table's column that it belongs to."""

    top: str
    kind: int
    width: int
    is_flat: bool


def parquet_names(path: Path, file: IO[bytes]) -> tuple[str, ...]:
    """Return the column names of an open Parquet file; PanelError if its footer is damaged."""
    try:
        return _names(_footer(file)[1])
    except _Damaged as error:
        raise _refused(path, error) from None


def parquet_sizes(path: Path, file: IO[bytes], columns: Collection[str] | None, bound: Bound) -> ParquetSizes:
    """Return the size to which ``columns`` (None: all) of an open Parquet file grow.

    Raises
    ------
    PanelError
        The file is damaged, or grows beyond the bound.
    """
    try:
        end, elements, groups, n_rows = _walked(file)
        sizes = ParquetSizes(_names(elements), n_rows)
        leaves = _leaves(elements)
        if not sizes.names:
            raise _Damaged("it has no columns")
        largest = seen = 0
        for number, (group_rows, chunks) in enumerate(groups):
            seen += group_rows
            if group_rows < 0 or len(chunks) != len(leaves):
                raise _Damaged(f"row group {number} has {len(chunks)} columns where the schema has {len(leaves)}")
            for leaf, chunk in zip(leaves, chunks, strict=True):
                if columns is not None and leaf.top not in columns:
                    continue
                where = f"row group {number} of column {leaf.top!r}"
                if leaf.kind != chunk.kind:
                    raise _Damaged(f"{where} has another type than the schema")
                if leaf.is_flat and chunk.n_values != group_rows:
                    raise _Damaged(f"{where} has {chunk.n_values:,} values for {group_rows:,} rows")
                page = _walk(file, chunk, leaf, where, end, sizes, bound)
                largest = max(largest, page)
        if seen != n_rows:
            raise _Damaged(f"it should have {n_rows:,} rows, and its row groups have {seen:,}")
    except _Damaged as error:
        raise _refused(path, error) from None
    sizes.grown += largest
    bound.check(sizes.grown, f"in {n_rows:,} rows, by the headers of its pages")
    return sizes


def _refused(path: Path, error: object) -> PanelError:
    return PanelError(f"{str(path)!r} cannot be read as parquet: {error}")


# ---- pages -----------------------------------------------------------------------------------------------------------


@dataclass
class _Chunk:
    kind: int = -1
    n_values: int = -1
    n_bytes: int = -1
    data: int = -1
    dictionary: int = 0
    is_elsewhere: bool = False

    @property
    def start(self) -> int:
        return self.dictionary if 0 < self.dictionary < self.data else self.data


def _walk(file: IO[bytes], chunk: _Chunk, leaf: _Leaf, where: str, end: int, sizes: ParquetSizes, bound: Bound) -> int:
    """Add a column chunk to ``sizes``; returns the bytes of its largest page."""
    if chunk.is_elsewhere:
        raise _Damaged(f"{where} is in another file")
    at, stop = chunk.start, chunk.start + chunk.n_bytes
    least = 4 if chunk.n_values else 0  # it is 0 if nothing was written
    if chunk.n_values < 0 or chunk.n_bytes < 0 or not least <= at <= stop <= end:
        raise _Damaged(f"{where} lies at bytes {at:,} to {stop:,}, outside the data")
    n_values = largest = 0
    is_shared = is_prefixed = False
    while n_values < chunk.n_values:
        page, size = _page_header(file, at, stop, where)
        at += size + page.packed
        if page.packed < 0 or page.unpacked < 0 or page.n_values < 0 or at > stop:
            raise _Damaged(f"a page of {where} reaches beyond its column")
        largest = max(largest, page.unpacked)
        if page.kind in (_DATA_PAGE, _DATA_PAGE_V2):
            n_values += page.n_values
            sizes.grown += page.n_values * (_STRING if leaf.kind == _BYTE_ARRAY else max(CELL, leaf.width))
            is_prefixed |= page.encoding == _DELTA_BYTE_ARRAY
        elif page.kind == _DICTIONARY_PAGE:
            least = leaf.width if leaf.kind == _FIXED else _PLAIN_BYTES[leaf.kind]
            if leaf.kind and page.n_values * least > page.unpacked:
                raise _Damaged(f"the dictionary of {where} has {page.n_values:,} values in {page.unpacked:,} bytes")
            is_shared = True
        if leaf.kind == _BYTE_ARRAY:
            sizes.grown += page.unpacked
        bound.check(sizes.grown + largest, f"in {where}, by the headers of its pages")
    if n_values != chunk.n_values:
        raise _Damaged(f"the pages of {where} hold {n_values:,} values, expected {chunk.n_values:,}")
    if leaf.kind == _BYTE_ARRAY and (is_shared or is_prefixed):
        if not leaf.is_flat and sizes.grown + n_values * largest > bound.max_bytes:
            raise _Damaged(
                f"the strings in the lists of column {leaf.top!r} may grow beyond {bound.max_bytes:,} bytes; "
                "read other columns only, or raise max_bytes (on the command line: --max-bytes)"
            )
        sizes.shared[leaf.top] = max(sizes.shared.get(leaf.top, 0), largest)
        sizes.worst += n_values * largest
        if is_prefixed:
            sizes.prefixed.add(leaf.top)
    return largest


@dataclass
class _Page:
    kind: int = -1
    unpacked: int = -1
    packed: int = -1
    n_values: int = 0
    encoding: int = -1


def _page_header(file: IO[bytes], at: int, stop: int, where: str) -> tuple[_Page, int]:
    """The header of the page at a byte, and its length."""
    for window in _WINDOWS:
        file.seek(at)
        reader = _Compact(file.read(min(window, stop - at)))
        try:
            page = _Page()
            for key, kind in reader.fields():
                if key == 1:
                    page.kind = reader.integer(kind)
                elif key == 2:
                    page.unpacked = reader.integer(kind)
                elif key == 3:
                    page.packed = reader.integer(kind)
                elif key in (5, 7, 8) and kind == _STRUCT:
                    of_encoding = 4 if key == 8 else 2
                    for inner, inner_kind in reader.fields():
                        if inner == 1:
                            page.n_values = reader.integer(inner_kind)
                        elif inner == of_encoding:
                            page.encoding = reader.integer(inner_kind)
                        else:
                            reader.skip(inner_kind)
                else:
                    reader.skip(kind)
            return page, reader.at
        except IndexError:
            if window >= stop - at:
                break
    raise _Damaged(f"{where} ends within the header of a page")


# ---- footer ----------------------------------------------------------------------------------------------------------


@dataclass
class _Element:
    """One entry of the schema, which lists its tree depth first."""

    name: str = ""
    kind: int = -1
    width: int = 0
    repetition: int = 0
    n_children: int = 0


def _footer(file: IO[bytes]) -> tuple[int, list[_Element], _Compact, int, int]:
    """Where the footer begins, the schema, a reader of it, where the row groups begin in it (0: none), the rows."""
    size = file.seek(0, 2)
    if size < 12:
        raise _Damaged(f"it has {size} bytes, too few for any Parquet file")
    file.seek(0)
    first = file.read(4)
    file.seek(size - 8)
    tail = file.read(8)
    if first != b"PAR1" or tail[4:] != b"PAR1":
        raise _Damaged("it does not end as Parquet files do; it may have been cut off")
    (length,) = struct.unpack("<I", tail[:4])
    if length > size - 12:
        raise _Damaged(f"its footer should have {length:,} bytes, more than the file")
    file.seek(size - 8 - length)
    reader = _Compact(file.read(length))
    elements: list[_Element] = []
    groups, n_rows = 0, -1
    try:
        for key, kind in reader.fields():
            if key == 2 and kind == _LIST:
                elements = [_element(reader) for _ in reader.items()]
            elif key == 3:
                n_rows = reader.integer(kind)
            elif key == 4 and kind == _LIST:
                groups = reader.at
                reader.skip(kind)
            else:
                reader.skip(kind)
    except IndexError:
        raise _Damaged("its footer is cut off") from None
    if n_rows < 0:
        raise _Damaged(f"it should have {n_rows} rows")
    return size - 8 - length, elements, reader, groups, n_rows


def _walked(file: IO[bytes]) -> tuple[int, list[_Element], Iterator[tuple[int, list[_Chunk]]], int]:
    end, elements, reader, groups, n_rows = _footer(file)

    def each() -> Iterator[tuple[int, list[_Chunk]]]:
        reader.at = groups
        for _ in reader.items() if groups else ():
            rows, chunks = -1, []
            for key, kind in reader.fields():
                if key == 1 and kind == _LIST:
                    chunks = [_chunk(reader) for _ in reader.items()]
                elif key == 3:
                    rows = reader.integer(kind)
                else:
                    reader.skip(kind)
            yield rows, chunks

    return end, elements, each(), n_rows


def _element(reader: _Compact) -> _Element:
    element = _Element()
    for key, kind in reader.fields():
        if key == 1:
            element.kind = reader.integer(kind)
        elif key == 2:
            element.width = reader.integer(kind)
        elif key == 3:
            element.repetition = reader.integer(kind)
        elif key == 4:
            try:
                element.name = reader.binary(kind).decode()
            except UnicodeDecodeError:
                raise _Damaged("the name of a column is not UTF-8") from None
        elif key == 5:
            element.n_children = reader.integer(kind)
        else:
            reader.skip(kind)
    return element


def _chunk(reader: _Compact) -> _Chunk:
    chunk = _Chunk()
    for key, kind in reader.fields():
        if key == 1:
            chunk.is_elsewhere = bool(reader.binary(kind))
        elif key == 3 and kind == _STRUCT:
            for inner, inner_kind in reader.fields():
                if inner == 1:
                    chunk.kind = reader.integer(inner_kind)
                elif inner == 5:
                    chunk.n_values = reader.integer(inner_kind)
                elif inner == 7:
                    chunk.n_bytes = reader.integer(inner_kind)
                elif inner == 9:
                    chunk.data = reader.integer(inner_kind)
                elif inner == 11:
                    chunk.dictionary = reader.integer(inner_kind)
                else:
                    reader.skip(inner_kind)
        else:
            reader.skip(kind)
    return chunk


def _names(elements: list[_Element]) -> tuple[str, ...]:
    return tuple(element.name for element, depth in _depths(elements) if depth == 1)


def _depths(elements: list[_Element]) -> Iterator[tuple[_Element, int]]:
    """Every entry of the schema with its depth in the tree; the root, at 0, is the first."""
    left: list[int] = []  # children still to come, of each ancestor
    for position, element in enumerate(elements):
        if position and not left:
            raise _Damaged("its schema has more columns than its root")
        yield element, len(left)
        if left:
            left[-1] -= 1
        if element.n_children < 0 or element.n_children > len(elements):
            raise _Damaged(f"its schema has a group of {element.n_children:,} columns")
        if element.n_children:
            left.append(element.n_children)
        if len(left) > _DEEPEST:
            raise _Damaged(f"its schema is nested more than {_DEEPEST} deep")
        while left and not left[-1]:
            left.pop()
    if left or not elements:
        raise _Damaged("its schema ends before all columns are named")


def _leaves(elements: list[_Element]) -> list[_Leaf]:
    leaves, top = [], ""
    for element, depth in _depths(elements):
        if depth == 1:
            top = element.name
        if not element.n_children and depth:
            if not 0 <= element.kind <= _FIXED:
                raise _Damaged(f"column {top!r} has the unknown type {element.kind}")
            if element.kind == _FIXED and not 0 < element.width < 1 << 24:
                raise _Damaged(f"column {top!r} has values of {element.width:,} bytes")
            width = element.width if element.kind == _FIXED else CELL
            leaves.append(_Leaf(top, element.kind, width, depth == 1 and element.repetition != _REPEATED))
    return leaves


# ---- Thrift's compact protocol ---------------------------------------------------------------------------------------


class _Compact:
    """A reader of bytes in the compact protocol; IndexError if they end too early."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Key and type of every field of a struct; the caller reads or skips each value before the next."""
        data, key = self.data, 0
        while True:
            head = data[self.at]
            self.at += 1
            if head == _STOP:
                return
            kind, step = head & 15, head >> 4
            key = key + step if step else self._zigzag()
            yield key, kind

    def items(self) -> Iterator[int]:
        """Positions in a list of structs, whose items the caller reads."""
        kind, count = self._list_head()
        if count and kind != _STRUCT:
            raise _Damaged("its footer has a list of another kind than expected")
        return iter(range(count))

    def integer(self, kind: int) -> int:
        if kind not in _INTEGERS:
            raise _Damaged("its footer or a page has a value of another kind than expected")
        value = self._zigzag()
        if kind == _I32 and not -(1 << 31) <= value < 1 << 31:  # readers would cut it to 32 bits
            raise _Damaged(f"its footer or a page has the number {value}, which does not fit into 32 bits")
        return value

    def binary(self, kind: int) -> bytes:
        if kind != _BINARY:
            raise _Damaged("its footer has a value of another kind than expected")
        size = self._varint()
        start = self.at
        self.at += size
        if self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at]

    def skip(self, kind: int, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise _Damaged("its footer is nested too deep")
        if kind in (_TRUE, _FALSE):
            return
        if kind == _BYTE:
            self.at += 1
        elif kind in _INTEGERS:
            self._varint()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            size = self._varint()
            self.at += size
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            inner, count = self._list_head()
            self._skip_all((inner,), count, depth)
        elif kind == _MAP:
            count = self._varint()
            if count:
                kinds = self.data[self.at]
                self.at += 1
                self._skip_all((kinds >> 4, kinds & 15), count, depth)
        else:
            raise _Damaged("its footer or a page has a value of an unknown kind")
        if self.at > len(self.data):
            raise IndexError

    def _skip_all(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        for _ in range(count):
            for kind in kinds:
                if kind in (_TRUE, _FALSE):  # of its own byte within a list
                    self.at += 1
                    if self.at > len(self.data):
                        raise IndexError
                else:
                    self.skip(kind, depth + 1)

    def _list_head(self) -> tuple[int, int]:
        head = self.data[self.at]
        self.at += 1
        count = head >> 4
        count = self._varint() if count == 15 else count
        if count > len(self.data):
            raise IndexError
        return head & 15, count

    def _varint(self) -> int:
        data, at = self.data, self.at
        byte = data[at]
        value, shift = byte & 127, 7
        while byte & 128:
            at += 1
            byte = data[at]
            value |= (byte & 127) << shift
            shift += 7
            if shift > 70:
                raise _Damaged("its footer or a page has a number of more than 64 bits")
        self.at = at + 1
        return value

    def _zigzag(self) -> int:
        value = self._varint()
        if value >> 64:
            raise _Damaged("its footer or a page has a number of more than 64 bits")
        return (value >> 1) ^ -(value & 1)
