"""Tables that are damaged, lie or explode: CSV, packed CSV, Parquet and C-MAPSS text through each backend."""

import bz2
import copy
import datetime
import decimal
import functools
import gzip
import io
import lzma
import struct
import warnings

import compact
import numpy as np

from cem.errors import CemError, CemWarning, ColumnsLeftOutWarning, DeprecatedUseWarning
from cem.tables import tables

NAME = "tables"
MAX_BYTES = 4_000_000
BACKENDS = ("pyarrow", "polars", "pandas")
_ROLES = ("unit", "time", "channel", "mode", "failure_time", "response")
_CELLS = (
    "", "0", "-1", "1e308", "1e999", "nan", "inf", "-inf", "NULL", "1_000", "0x10", "1,5", '"', '""', '"a,b"', "'",
    "2024-01-01", "2024-01-01T00:00:00Z", "24:61", "99999999999999999999", "\ufeff", "\x00", "ü", "\u2028", "true",
    "x" * 300, "\r", "\n", "\r\n", "1 day", "=1+1", "\\", "\t", ";", "|", "9" * 400, "1e-400", "0" * 40 + "1",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 2, 7, 127, 128, 255, 1000, 65_535, 65_536, 1_000_000, 2**24, 2**31 - 1, 2**31, -(2**31), 2**32 - 1,
    2**32, 2**33, 10**9, 10**12, 2**62, 2**63 - 1, -(2**63), 2**63, 2**64,
)  # fmt: skip


def _csv(n_rows=40, delimiter=","):
    lines = [delimiter.join(("unit", "time", "s2", "s3", "label", "failed"))]
    for i in range(n_rows):
        row = (f"u{i // 8}", i % 8, f"{i / 7:.3f}", i * 3, ("fan", "", "hpc")[i // 8 % 3], 9)
        lines.append(delimiter.join(map(str, row)))
    return ("\n".join(lines) + "\n").encode()


def _cmapss():
    return "".join(
        f"{unit} {cycle} 0.1 0.2 100.0 {' '.join(str(float(s * cycle)) for s in range(1, 22))}  \n"
        for unit, life in ((1, 6), (2, 4))
        for cycle in range(1, life + 1)
    ).encode()


def _columns():
    """Name and array of one column of every type that Parquet files hold."""
    import pyarrow as pa

    n = 24
    i = np.arange(n)
    day = datetime.date(2024, 1, 1)
    plain = {
        "ints": pa.array(i),
        "floats": pa.array(i / 3),
        "gaps": pa.array([None if j % 5 == 0 else float(j) for j in i]),
        "strings": pa.array([f"u{j // 6}" for j in i]),
        "bools": pa.array(i % 2 == 0),
        "bytes": pa.array([b"\xff\xfe%d" % (j // 6) for j in i]),
        "halves": pa.array((i / 2).astype(np.float16)),
        "tiny": pa.array(i.astype(np.int8)),
        "large": pa.array(i.astype(np.uint64) + 2**63),
        "fixed": pa.array([b"abcd"] * n, pa.binary(4)),
        "decimals": pa.array([decimal.Decimal(int(j)) / 4 for j in i], pa.decimal128(12, 2)),
        "wide": pa.array([decimal.Decimal(int(j)) * 10**30 for j in i], pa.decimal256(50, 2)),
        "dates": pa.array([day + datetime.timedelta(int(j)) for j in i]),
        "stamps": pa.array([datetime.datetime(2024, 1, 1 + j) for j in i.tolist()], pa.timestamp("ns")),
        "zoned": pa.array([datetime.datetime(2024, 1, 1 + j) for j in i.tolist()], pa.timestamp("ms", "Europe/Paris")),
        "spans": pa.array([datetime.timedelta(int(j)) for j in i], pa.duration("us")),
        "clock": pa.array([datetime.time(j) for j in i.tolist()], pa.time64("us")),
        "short_clock": pa.array([datetime.time(j) for j in i.tolist()], pa.time32("ms")),
        "lists": pa.array([[int(j), 2] for j in i]),
        "words": pa.array([["a", "b"]] * n),
        "fixed_lists": pa.array([[1.0, 2.0]] * n, pa.list_(pa.float64(), 2)),
        "structs": pa.array([{"a": int(j), "b": "x"} for j in i]),
        "maps": pa.array([[("k", int(j))] for j in i], pa.map_(pa.string(), pa.int64())),
        "codes": pa.array([f"u{j // 6}" for j in i]).dictionary_encode(),
        "number_codes": pa.array(i // 6).dictionary_encode(),
        "nothing": pa.nulls(n),
        "empty": pa.nulls(n, pa.string()),
        "large_strings": pa.array([f"u{j // 6}" for j in i], pa.large_string()),
        **({"views": pa.array([f"u{j // 6}" for j in i]).cast(pa.string_view())} if hasattr(pa, "string_view") else {}),
        "nans": pa.array(np.full(n, np.nan)),
        "infinite": pa.array(np.where(i == 3, np.inf, 1.0)),
        "far": pa.array(np.full(n, -(2**63) + 1), pa.timestamp("us")),
    }
    return plain


@functools.cache
def _parquet_table():
    import pyarrow as pa

    columns = _columns()
    n = len(columns["ints"])
    base = {"unit": pa.array(np.arange(n) // 6), "time": pa.array(np.arange(n) % 6), "s2": pa.array(np.arange(n) / 7)}
    return pa.table({**base, **columns})


def _parquet(names, **options):
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(_parquet_table().select(names), out, **options)
    return out.getvalue()


def seeds(folder):
    """(format, bytes, names of columns); every backend reads one of each, so that later inputs import nothing."""
    table = _parquet_table()
    odd = table.column_names[3:]
    found = [("csv", _csv(delimiter=d), None) for d in (",", ";", "\t", "|")]
    found += [("csv", b"\xef\xbb\xbf" + _csv(8).replace(b"\n", b"\r\n"), None), ("csv", _csv(0), None)]
    found += [("csv", _csv(300), None), ("cmapss", _cmapss(), None)]
    few = ["unit", "time", "s2"]
    for compression in ("none", "snappy", "zstd", "gzip", "brotli", "lz4"):
        names = [*few, "gaps", "strings", "codes", "bools"]
        found.append(("parquet", _parquet(names, compression=compression, row_group_size=10), names))
    for version in ("1.0", "2.0"):
        for encoding in ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"):
            columns = {"ints": encoding}
            names = [*few, "ints", "strings", "floats"]
            if encoding == "DELTA_BINARY_PACKED":
                columns["strings"] = "DELTA_BYTE_ARRAY"
            try:
                made = _parquet(names, use_dictionary=False, column_encoding=columns, data_page_version=version)
            except OSError:  # an encoding that pyarrow before 16 does not have for integers
                continue
            found.append(("parquet", made, names))
    found.append(("parquet", _parquet([*few, *odd]), [*few, *odd]))
    found.append(("parquet", _parquet(["unit", "time"]), ["unit", "time"]))
    for name in odd:
        found.append(("parquet", _parquet([*few, name], store_schema=name < "n"), [*few, name]))
    for backend in BACKENDS:
        for kind, data, _ in found[:1] + found[6:9]:
            execute({"backend": backend, "data": data, "format": kind, "options": {}}, folder)
    return found


# ---- changes ---------------------------------------------------------------------------------------------------------


def _flipped(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if not data:
            break
        at = rng.randrange(len(data))
        what = rng.randrange(5)
        if what == 0:
            data[at] = rng.randrange(256)
        elif what == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 2:
            del data[at : at + rng.randrange(1, 30)]
        elif what == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 12))
        else:
            size = rng.randrange(1, 40)
            data[at:at] = data[max(0, at - size) : at]
    return bytes(data)


def _cut(rng, data):
    return data[: rng.randrange(len(data) + 1)]


def _csv_change(rng, data):
    what = rng.randrange(9)
    if what == 0:
        return _flipped(rng, data)
    if what == 1:
        return _cut(rng, data)
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    delimiter = max((b",", b";", b"\t", b"|"), key=data[:200].count)
    cells = lines[row].split(delimiter)
    cell = rng.randrange(len(cells))
    strange = rng.choice(_CELLS).encode()
    if what in (2, 3):
        cells[cell] = strange
    elif what == 4:
        del cells[cell]
    elif what == 5:
        cells[cell:cell] = [strange] * rng.choice((1, 1, 2, 50))
    elif what == 6:
        cells = [strange]
    elif what == 7:
        return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "latin-1", "cp500")), "replace")
    else:
        n = rng.choice((1, 2, 3, 2000))
        lines[row:row] = [lines[rng.randrange(len(lines))]] * n
        return b"\n".join(lines)
    lines[row] = delimiter.join(cells)
    return b"\n".join(lines)


def _packed(rng, data):
    what = rng.randrange(8)
    if what == 0:  # far larger than the bound
        data += (data[-60:] + b"\n") * rng.choice((200, 200, 200, 60_000))
    pack = rng.choice((gzip.compress, gzip.compress, gzip.compress, bz2.compress, lzma.compress))
    half = rng.randrange(len(data) + 1)
    packed = pack(data[:half]) + pack(data[half:]) if what == 1 else pack(data)
    if what == 2:
        packed += rng.choice((b"\0" * 50, b"garbage", packed))
    elif what == 3:
        packed = _cut(rng, packed)
    elif what == 4:
        packed = _flipped(rng, packed)
    elif what == 5 and len(packed) > 8:
        packed = packed[:-8] + rng.randbytes(8)
    elif what == 6:
        packed = pack(packed)
    return packed


def _changed_value(rng, kind, value):
    if kind in compact.INTEGERS:
        return rng.choice((rng.choice(_NUMBERS), value + rng.choice((-1, 1, 8, -8)), -value, value * 1000))
    if kind == compact.BINARY:
        return rng.choice((b"", b"\xff\xfe", value[:-1], value * 50, b"unit", b"a\0b", rng.randbytes(9)))
    if kind in (compact.LIST, compact.SET):
        inner, items = value
        items = list(items)
        if not items:
            return inner, items
        at = rng.randrange(len(items))
        what = rng.randrange(4)
        if what == 0:
            del items[at]
        elif what == 1:
            items[at:at] = [copy.deepcopy(items[at])] * rng.choice((1, 1, 3, 300))
        elif what == 2:
            rng.shuffle(items)
        else:
            items = []
        return inner, items
    if kind == compact.STRUCT:
        return [entry for entry in value if rng.random() < 0.7]
    return not value if kind in (compact.TRUE, compact.FALSE) else rng.randbytes(len(value))


def _footer_change(rng, data):
    tree, start = compact.footer(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        entries = compact.places(tree)
        entry = rng.choice(entries)
        what = rng.randrange(12)
        if what == 0 and entry in tree:
            tree.remove(entry)
        elif what == 1:
            entry[0] = rng.choice((entry[0] + 1, rng.randrange(1, 20), 30_000))
        else:
            entry[2] = _changed_value(rng, entry[1], entry[2])
    return compact.sealed(data[:start], tree)


def _page_change(rng, data):
    """One page header changed; sizes and places in the footer follow, so that only the header's own lie is left."""
    tree, start = compact.footer(data)
    groups = compact.get(tree, 4)[1]
    if not groups:
        return data
    chunk = compact.get(rng.choice(compact.get(rng.choice(groups), 1)[1]), 3)
    at = min(place for place in (compact.get(chunk, 9), compact.get(chunk, 11)) if place)
    stop = at + compact.get(chunk, 7)
    headers = []
    while at < stop:
        reader = compact.Reader(data, at)
        header = reader.struct()
        headers.append((at, reader.at, header))
        at = reader.at + compact.get(header, 3)
    first, last, header = rng.choice(headers)
    if rng.random() < 0.4:  # the page itself
        size = compact.get(header, 3)
        if not 0 <= size <= len(data):
            return _flipped(rng, data)
        page = _flipped(rng, data[last : last + size])[:size]
        return data[:last] + page + bytes(size - len(page)) + data[last + size :]
    entry = rng.choice(compact.places(header))
    entry[2] = _changed_value(rng, entry[1], entry[2])
    new = compact.written(compact.STRUCT, header)
    step = len(new) - (last - first)
    for group in groups:
        for column in compact.get(group, 1)[1]:
            for place in compact.get(column, 3):
                if place[0] in (9, 11) and place[2] > first:
                    place[2] += step
                if place[0] == 7 and compact.get(column, 3) is chunk:
                    place[2] += step
    return compact.sealed(data[:first] + new + data[last:start], tree)


def _parquet_change(rng, data):
    what = rng.randrange(10)
    try:
        if what < 4:
            return _footer_change(rng, data)
        if what < 7:
            return _page_change(rng, data)
    except (TypeError, IndexError, ValueError, KeyError, struct.error):  # changed before, and no tree any longer
        return _flipped(rng, data)
    return data if what == 7 else _cut(rng, data) if what == 8 else _flipped(rng, data)


# ---- the target ------------------------------------------------------------------------------------------------------


def generate(rng, seeds):
    """A file's bytes, the backend to read it, and the roles of its columns."""
    kind, data, names = rng.choice(seeds)
    changes = rng.choice((0, 1, 1, 1, 2, 3))
    for _ in range(changes):
        data = _parquet_change(rng, data) if kind == "parquet" else _csv_change(rng, data)
    if kind != "parquet" and rng.random() < 0.4:
        data = _packed(rng, data)
    names = names or ["unit", "time", "s2", "s3", "label", "failed"]
    options = {}
    if rng.random() < 0.5:
        for role in rng.sample(_ROLES, rng.randrange(1, 4)):
            name = rng.choice((names[-1], rng.choice(names)))
            options["channels" if role == "channel" else role] = [name] if role == "channel" else name
    forced = rng.choice((None, None, None, None, None, "csv", "parquet", "cmapss"))
    return {"backend": rng.choice(BACKENDS), "data": data, "format": forced, "options": options}


def execute(item, folder):
    """ "read", with the warnings by type, or "refused"; whatever is not refused or warned of by type gets out."""
    path = folder / "table"
    path.write_bytes(item["data"])
    used, tables._BACKENDS = tables._BACKENDS, (item["backend"],)
    try:
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            tables.column_names(path, format=item["format"])
            panel = tables.read_panel(path, format=item["format"], max_bytes=MAX_BYTES, **item["options"])
    except CemError:
        return "refused"
    finally:
        tables._BACKENDS = used
    if panel.times.shape[0] != panel.values.shape[0] or panel.offsets[-1] != panel.times.shape[0]:
        raise AssertionError("a panel whose parts differ in length")
    if not np.isfinite(panel.times).all() or np.isinf(panel.values).any():
        raise AssertionError("a panel with a time or a reading that is not finite")
    for one in given:
        if not issubclass(one.category, CemWarning):
            raise AssertionError(f"a warning without a type of cem: {one.category.__name__}: {one.message}")
    kinds = {one.category for one in given}
    known = kinds & {DeprecatedUseWarning, ColumnsLeftOutWarning}
    suspect = sorted(kind.__name__ for kind in kinds - known)
    return f"read: {', '.join(suspect)}" if suspect else "read"
