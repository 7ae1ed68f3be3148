"""The rooms of src/cem: no import upwards, no circle, in compiled modules too, and a picture that is up to date."""

from __future__ import annotations

import importlib.util
from graphlib import TopologicalSorter

import pytest
from places import ROOT


@pytest.fixture(scope="module")
def architecture():
    specification = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_no_module_imports_from_a_higher_floor_or_another_room_of_its_own(architecture):
    floor = {room: level for level, rooms in enumerate(architecture.floors()) for room in rooms}
    wrong = [
        f"{name} imports {target}"
        for name, targets in architecture.imports().items()
        for target in targets
        for room, other in [(architecture.room_of(name), architecture.room_of(target))]
        if room != other and room in floor and other in floor and floor[other] <= floor[room]
    ]
    assert not wrong


def test_every_room_has_a_floor(architecture):
    rooms = {architecture.room_of(name) for name in architecture.modules()} - {"cem"}
    floors = {room for floor in architecture.floors() for room in floor}
    # Beside the rooms: the entry of `python -m cem`, the table of old paths, and the C interface at its old path.
    assert rooms == floors | {"__main__", "_scorer", "old_paths"}


def test_modules_do_not_import_in_circles(architecture):
    """Imports within functions count: a circle is one, wherever it is closed."""
    graph = {name: targets - {"cem"} for name, targets in architecture.imports().items() if name != "cem"}
    TopologicalSorter(graph).prepare()


def test_the_picture_is_of_these_sources(architecture):
    """`python docs/architecture.py` makes it."""
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.drawn()
