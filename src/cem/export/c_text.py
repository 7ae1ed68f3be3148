"""C text from Python values: exact literals, identifiers, strings and tables, all in ASCII."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cem.errors import OptionError

__all__ = [
    "Writer",
    "comment",
    "enumeration",
    "enumerators",
    "identifier",
    "in_single",
    "integers",
    "name_function",
    "pair",
    "scalar_table",
    "single_vector",
    "vector",
]

LINE_WIDTH = 116


@dataclass(frozen=True)
class Writer:
    """The prefix and the arithmetic of one header.

    Parameters
    ----------
    name : str
        Prefix of every name.
    scalar : {"double", "float"}
        Type of readings, parameters and state.
    """

    name: str
    scalar: str

    @property
    def is_single(self) -> bool:
        """Whether the arithmetic is that of float."""
        return self.scalar == "float"

    def fill(self, text: str, **more: str) -> str:
        """The text with @name@, @NAME@ and the given words replaced."""
        words = {"name": self.name, "NAME": self.name.upper(), "real": self.scalar, **more}
        return re.sub(r"@(\w+)@", lambda match: words[match.group(1)], text)

    def rounded(self, value: float, *, reciprocal: bool = False) -> float:
        """The value that the header's scalar holds; a value used as a divisor must not vanish."""
        with np.errstate(over="ignore", under="ignore"):
            held = float(np.float32(value)) if self.scalar == "float" else float(value)
        if not math.isfinite(held) or (reciprocal and held == 0.0):
            raise OptionError(
                f"scalar: a parameter of the model is {value!r}, which a C {self.scalar} cannot hold; "
                "export with scalar='double', or fit in other units of measurement"
            )
        return held

    def literal(self, value: float) -> str:
        """A scalar of the header, exact."""
        return self.rounded(value).hex() + ("f" if self.scalar == "float" else "")


def _double(value: float) -> str:
    """A double, exact; the logarithm of 0 is written as C writes it."""
    return "-HUGE_VAL" if value == -math.inf else float(value).hex()


def comment(label: object) -> str:
    """A label as a C comment: it neither opens nor closes one, and has no trigraph."""
    text = str(label).encode("ascii", "backslashreplace").decode()
    return re.sub(r"[^ -~]|[\\?]", ".", text.replace("*/", "* /").replace("/*", "/ *"))


def _string(label: object) -> str:
    """A C string literal with the label's UTF-8, anything but plain characters in octal."""
    plain = re.compile(rb"[A-Za-z0-9 _.,:;+*/()<>=%&|~-]")
    encoded = str(label).encode("utf-8", "replace")
    return '"' + "".join(chr(byte) if plain.match(bytes([byte])) else f"\\{byte:03o}" for byte in encoded) + '"'


def identifier(label: object) -> str:
    """A label as a part of a C identifier: ``OIL_TEMPERATURE``."""
    text = str(label).upper().encode("ascii", "replace").decode()
    stem = re.sub(r"[^A-Z0-9]+", "_", text).strip("_") or "NONE"
    return "MINUS_" + stem if isinstance(label, int | float | np.number) and label < 0 else stem


def enumerators(prefix: str, labels: Iterable[object], taken: Iterable[str] = ()) -> list[str]:
    """Distinct C identifiers for labels, in their order, none of them taken: ``FLEET_CHANNEL_OIL_TEMPERATURE``."""
    found: list[str] = []
    known = set(taken)
    for label in labels:
        stem = f"{prefix}_{identifier(label)}"
        candidate, count = stem, 1
        while candidate in known:
            count += 1
            candidate = f"{stem}_{count}"
        found.append(candidate)
        known.add(candidate)
    return found


def enumeration(tag: str, identifiers: Sequence[str], labels: Sequence[object]) -> str:
    """``enum tag``, or one without a tag, that numbers the identifiers, each with its label beside it."""
    last = len(identifiers) - 1
    lines = [
        f"    {identifier} = {i}{',' if i < last else ''} /* {comment(label)} */"
        for i, (identifier, label) in enumerate(zip(identifiers, labels, strict=True))
    ]
    return "\n".join([f"enum {tag} {{" if tag else "enum {", *lines, "};"])


def name_function(function: str, labels: Sequence[object], what: str) -> str:
    """A C function from number to name; unlike a table, it costs no memory if unused."""
    return "\n".join(
        [
            f"/* The {what}'s name in the model, UTF-8; an empty string for a number that is none. */",
            f"static inline const char *{function}(int number)",
            "{",
            "    switch (number) {",
            *(f"        case {i}: return {_string(label)};" for i, label in enumerate(labels)),
            '        default: return "";',
            "    }",
            "}",
        ]
    )


def _wrapped(pieces: Sequence[str], indent: str) -> str:
    """Join pieces with commas, as many per line as fit."""
    lines, line = [], indent
    for i, piece in enumerate(pieces):
        text = piece + ("," if i + 1 < len(pieces) else "")
        if line != indent and len(line) + 1 + len(text) > LINE_WIDTH:
            lines.append(line)
            line = indent
        line += text if line == indent else " " + text
    return "\n".join([*lines, line])


def _decimals(title: str, values: Sequence[float], indent: str) -> str:
    """A comment with a title and the numbers in decimal, which read more easily than hexadecimal."""
    body = _wrapped([f"{value:.17g}" for value in values], indent + " * ")
    return f"{indent}/* {title}:\n{body} */"


def vector(title: str, name: str, values: Sequence[float]) -> str:
    """A ``static const double`` array."""
    literals = _wrapped([_double(value) for value in values], "    ")
    return f"{_decimals(title, values, '')}\nstatic const double {name}[{len(values)}] = {{\n{literals}\n}};"


def single_vector(out: Writer, title: str, name: str, values: Sequence[float]) -> str:
    """A ``static const float`` array."""
    held = [out.rounded(float(value)) for value in values]
    literals = _wrapped([out.literal(value) for value in held], "    ")
    return f"{_decimals(title, held, '')}\nstatic const float {name}[{len(values)}] = {{\n{literals}\n}};"


def in_single(text: str) -> str:
    """C text in double as text in float: types, constants, and functions of the C library."""
    text = re.sub(r"\bdouble\b", "float", text).replace("DBL_MAX", "FLT_MAX")
    text = re.sub(r"\b(exp|log|fabs)\(", r"\1f(", text)
    return re.sub(r"(?<![\w.])(\d+\.\d+|\d+e\d+)(?![\w.])", r"\1f", text)


def pair(value: float) -> tuple[float, float]:
    """A double as two floats, the second of which is what the first rounds away."""
    high = float(np.float32(value))
    return high, float(value) - high


def integers(title: str, name: str, values: Sequence[int], kind: str = "int") -> str:
    """A ``static const`` array of int, or of another kind of integer."""
    body = _wrapped([str(int(value)) for value in values], "    ")
    return f"/* {title} */\nstatic const {kind} {name}[{len(values)}] = {{\n{body}\n}};"


def scalar_table(out: Writer, title: str, name: str, rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """A flat ``static const`` array of the header's scalar: rows of equal length, each under its label."""
    lines = [f"/* {title} */", f"static const {out.name}_scalar {name}[{sum(len(row) for _, row in rows)}] = {{"]
    for i, (label, row) in enumerate(rows):
        held = [out.rounded(float(value)) for value in row]
        lines.append(_decimals(label, held, "    "))
        lines.append(_wrapped([out.literal(value) for value in held], "    ") + ("," if i + 1 < len(rows) else ""))
    return "\n".join([*lines, "};"])
