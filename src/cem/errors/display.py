"""Make text safe to show: names from files must not control a terminal or imitate other output.

A model file or a table can come from anywhere, and its names of channels, modes, units and paths come with it.
Everything that `cem` prints for people passes through here. Machine-readable output (JSON, CSV) keeps the values.
"""

from __future__ import annotations

__all__ = ["encodable", "escaped", "json_safe", "safe", "short_number"]

_MOST_WRITTEN_OUT = 1e9


def escaped(name: object, encoding: str | None = None) -> str:
    r"""Return a name as one line of plain characters from which you can recover the name.

    Control characters, line ends, bidirectional marks, lone surrogates, blanks other than the space, and characters
    that `encoding` lacks are written as in a Python string: ``\n``, ``\x1b``, ``\u202e``. A backslash is doubled.
    """
    text = str(name)
    if not text.isprintable() or "\\" in text:
        text = "".join(_escape(c) if c == "\\" or not c.isprintable() else c for c in text)
    return text if encoding is None or text.isascii() else encodable(text, encoding)


def safe(text: str, encoding: str | None = None, *, lines: bool = False) -> str:
    """Make finished text safe to print: as `escaped`, but single backslashes stay single.

    Parameters
    ----------
    text : str
        Its names may or may not be escaped already.
    encoding : str, optional
        Encoding of the output.
    lines : bool
        Whether to keep line ends.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or (lines and c == "\n") else _escape(c) for c in text)
    return text if encoding is None or text.isascii() else encodable(text, encoding)


def encodable(text: str, encoding: str) -> str:
    r"""Replace characters that the encoding lacks by ``\uXXXX``, which JSON strings read as escapes.

    Characters beyond U+FFFF become two escapes, as in JSON.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _has(encoding, c) else _json_escape(c) for c in text)
    except LookupError:  # no encoding that Python knows
        return encodable(text, "ascii")
    return text


def json_safe(text: str) -> str:
    """Escape everything unprintable in a JSON document: it holds the same values and cannot control a terminal."""
    if text.isascii() and "\x7f" not in text:
        return text  # JSON escapes the other control characters itself
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def short_number(value: float, form: str = ".4g") -> str:
    """Return a number for people in a dozen characters, whatever its size.

    Parameters
    ----------
    value : float
        From 1,000 to 1,000,000,000 it has two decimals; a larger one, or infinity, has four significant digits.
    form : str
        Format of smaller numbers, such as ".3f".
    """
    size = abs(value)
    return f"{value:{',.2f' if size >= 1e3 else form}}" if size < _MOST_WRITTEN_OUT else f"{value:.4g}"
