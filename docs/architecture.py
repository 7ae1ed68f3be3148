"""Which room imports which: read from the sources, compared with the floors of pyproject.toml, and drawn.

`python docs/architecture.py` writes docs/pictures/rooms.svg. Import-linter checks the same floors in Python files; it
does not see compiled modules, which are read here (`tests/test_architecture.py`).
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"

_INCLUDED = re.compile(r'^include "([^"]+)"', re.MULTILINE)
_CYTHON = re.compile(r"^[ \t]*from (cem[\w.]*) c?import \(?([^#()]*?)(?:\)|#|$)", re.MULTILINE | re.DOTALL)


def modules() -> dict[str, list[Path]]:
    """Every module by its dotted name, with the files that it is made of."""
    found: dict[str, list[Path]] = {}
    for path in sorted((SOURCES / "cem").rglob("*")):
        if path.suffix in (".py", ".pyx", ".pxd"):
            parts = path.relative_to(SOURCES).with_suffix("").parts
            of_module = found.setdefault(".".join(parts).removesuffix(".__init__"), [])
            of_module.append(path)
            if path.suffix == ".pyx":  # and its parts, .pxi files
                of_module += [path.with_name(name) for name in _INCLUDED.findall(path.read_text(encoding="utf-8"))]
    return found


def imports() -> dict[str, set[str]]:
    """The modules that each module imports while it runs; what only type checkers read is left out."""
    known = modules()
    return {
        name: {target for path in paths for target in _imported(path, known) if target != name}
        for name, paths in known.items()
    }


def _imported(path: Path, known: dict[str, list[Path]]) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        pairs = list(_of_python(ast.parse(text)))
    else:
        pairs = [(home, [word.split(" as ")[0].strip() for word in names.split(",")])
                 for home, names in _CYTHON.findall(text)]  # fmt: skip
    for home, names in pairs:
        for name in names:
            target = f"{home}.{name}" if f"{home}.{name}" in known else home
            if target in known:
                yield target


def _of_python(node: ast.AST) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cem":
        yield node.module, [alias.name for alias in node.names]
    elif isinstance(node, ast.Import):
        yield from ((alias.name, [""]) for alias in node.names if alias.name.split(".")[0] == "cem")
    for child in ast.iter_child_nodes(node):
        yield from _of_python(child)


def floors() -> list[list[str]]:
    """The rooms by floor, the highest first, as pyproject.toml has them."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    layers = tools["importlinter"]["contracts"][0]["layers"]
    return [[room.strip(" ()") for room in layer.split("|")] for layer in layers]


def room_of(module: str) -> str:
    """The folder of a module, or the module where it is in none."""
    return module.split(".")[1] if "." in module else module


def between_rooms() -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second. `cem` itself imports at first use and is in no room."""
    rooms = {room for floor in floors() for room in floor}
    pairs = {(room_of(name), room_of(target)) for name, targets in imports().items() for target in targets}
    return {(room, target) for room, target in pairs if room != target and {room, target} <= rooms}


def sizes() -> dict[str, tuple[int, int]]:
    """Lines of each room, of Python and of Cython and C."""
    found: dict[str, list[int]] = {}
    for path in (SOURCES / "cem").rglob("*"):
        if path.suffix in (".py", ".pyx", ".pxd", ".pxi", ".h"):
            count = found.setdefault(path.relative_to(SOURCES / "cem").with_suffix("").parts[0], [0, 0])
            count[path.suffix != ".py"] += len(path.read_text(encoding="utf-8").splitlines())
    return {room: (python, compiled) for room, (python, compiled) in found.items()}


def drawn() -> str:
    """A row and a column a room, by floor; a dot where the row imports the column. One way: dots in one corner."""
    rows = [(room, level) for level, floor in enumerate(floors()) for room in floor]
    cell, left, right, top = 24, 150, 40, 92
    side = cell * len(rows)
    place = {room: i for i, (room, _) in enumerate(rows)}
    lines = sizes()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + side + right} {top + side + 12}" '
        'font-family="sans-serif" font-size="12" fill="#12202e">',
        "<title>Which room of cem imports which: rows import columns, and nothing imports upwards</title>",
        f'<rect width="{left + side + right}" height="{top + side + 12}" fill="#ffffff"/>',
        '<text x="12" y="24" font-size="13" font-weight="bold">rows import columns</text>',
        '<text x="12" y="44" fill="#44576a">blue: mostly Cython and C</text>',
        '<text x="12" y="60" fill="#44576a">shade: floors</text>',
    ]
    for i, (room, level) in enumerate(rows):
        y, (python, compiled) = top + i * cell, lines[room]
        shade = "#f3f6f9" if level % 2 else "#e6ecf2"
        colour = "#1d5fa8" if compiled > python else "#12202e"
        parts += [
            f'<rect x="8" y="{y}" width="{left - 8 + side}" height="{cell}" fill="{shade}"/>',
            f'<text x="16" y="{y + 17}" font-weight="bold" fill="{colour}">{room}</text>',
            f'<text transform="translate({left + i * cell + 17} {top - 8}) rotate(-60)" fill="{colour}">{room}</text>',
            f'<rect x="{left + i * cell}" y="{y}" width="{cell}" height="{cell}" fill="#9fb0c0"/>',
        ]
    for room, target in sorted(between_rooms()):
        x, y = left + (place[target] + 0.5) * cell, top + (place[room] + 0.5) * cell
        colour = "#c0392b" if place[target] < place[room] else "#33475b"
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="6" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
