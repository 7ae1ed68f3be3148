"""Text that is safe to show: what names from files hold may neither steer a terminal nor pass for something else.

A model file or a table can come from anywhere, and with it names of channels, modes, units of measurement and paths.
All that `cem` prints for people passes through here; what machines read (JSON, CSV) keeps the values as they are.
"""

from __future__ import annotations

__all__ = ["encodable", "escaped", "json_safe", "safe"]


def escaped(name: object, encoding: str | None = None) -> str:
    r"""A name in one line of plain characters, from which the name can be read off.

    Control characters, line ends, bidirectional marks, lone surrogates, blanks other than the space, and what
    `encoding` lacks are written as in a Python string: ``\n``, ``\x1b``, ``\u202e``. A backslash is doubled.
    """
    text = str(name)
    if not text.isprintable() or "\\" in text:
        text = "".join(_escape(c) if c == "\\" or not c.isprintable() else c for c in text)
    return text if encoding is None or text.isascii() else encodable(text, encoding)


def safe(text: str, encoding: str | None = None, *, lines: bool = False) -> str:
    """Finished text, whose names are escaped or not: as `escaped`, but a backslash stays single.

    Parameters
    ----------
    text : str
    encoding : str, optional
    lines : bool
        Line ends are kept.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or (lines and c == "\n") else _escape(c) for c in text)
    return text if encoding is None or text.isascii() else encodable(text, encoding)


def encodable(text: str, encoding: str) -> str:
    r"""The text with ``\uXXXX`` for characters that the encoding lacks; inside the strings of JSON these are escapes.

    Characters beyond U+FFFF become two of them, as in JSON.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _has(encoding, c) else _json_escape(c) for c in text)
    except LookupError:  # no encoding that Python knows
        return encodable(text, "ascii")
    return text


def json_safe(text: str) -> str:
    """A document in JSON with escapes for all that is not printable: the same values, and nothing for a terminal."""
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
