"""The store of the service example: whatever was accepted is there after a restart, and nothing twice."""

from __future__ import annotations

import errno
import importlib.util
import os

import pytest
from places import ROOT
from scorer_cases import make_model

from cem.errors import ScorerError
from cem.scoring.scorer import Scorer

X = {"s0": 9062.0, "s1": None}


@pytest.fixture(scope="module")
def store_module():
    path = ROOT / "examples" / "service" / "store.py"
    if not path.exists():
        pytest.skip("the source distribution has no examples")
    specification = importlib.util.spec_from_file_location("example_store", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model():
    made = make_model(("line", "polynomial"))
    made.scorer = lambda: Scorer(made)
    return made


@pytest.fixture
def opened(store_module, model, tmp_path):
    stores = []

    def open_it():
        """As after a kill: closing writes nothing."""
        if stores:
            stores.pop().close()
        stores.append(store_module.Store(tmp_path, model))
        return stores[-1]

    yield open_it
    if stores:
        stores.pop().close()


def states_of(store):
    return {id: store.fleet.unit(id).to_bytes() for id in store.fleet}


def test_accepted_readings_are_there_after_a_kill(opened):
    store = opened()
    for t in range(5):
        store.update("a", float(t), X)
        store.update("b", float(t), X)
    assert states_of(opened()) == states_of(store)


def test_snapshot_shortens_the_journal_and_loses_nothing(opened, tmp_path):
    store = opened()
    store.update("a", 1.0, X)
    content = store.begin_snapshot()
    store.update("a", 2.0, X)  # while the snapshot is written
    store.write_snapshot(content)
    store.update("b", 1.0, X)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet-1.snapshot", "journal-1.jsonl"]
    assert states_of(opened()) == states_of(store)


def test_kill_before_the_snapshot_is_written_keeps_both_journals(opened):
    store = opened()
    store.update("a", 1.0, X)
    store.begin_snapshot()
    store.update("a", 2.0, X)
    again = opened()
    assert states_of(again) == states_of(store)
    again.update("a", 3.0, X)
    store.fleet.update("a", 3.0, X)
    assert states_of(opened()) == states_of(store)


def test_line_cut_by_a_kill_is_no_reading(opened, tmp_path):
    store = opened()
    store.update("a", 1.0, X)
    with open(tmp_path / "journal-0.jsonl", "ab") as journal:
        journal.write(b'["a", 2.0, {"s0"')
    again = opened()
    assert states_of(again) == states_of(store)
    again.update("a", 2.0, X)
    assert states_of(opened()) == states_of(again)


def test_reading_that_is_sent_again_is_known_and_counts_once(opened, store_module):
    store = opened()
    store.update("a", 1.0, X)
    for again in (store, opened()):
        with pytest.raises(store_module.Known, match="not later"):
            again.update("a", 1.0, X)
        assert again.fleet.unit("a").n_observations == 1


def test_unit_that_began_without_a_value_takes_readings_after_a_restart(opened):
    """It has no latest reading, and would never have had one: each was answered with 409."""
    store = opened()
    store.update("a", 1.0, {})
    store.write_snapshot(store.begin_snapshot())
    again = opened()
    again.update("a", 2.0, X)
    assert again.fleet.unit("a").n_observations == 1


def test_full_disk_leaves_no_half_line_and_no_reading(opened, store_module, tmp_path, monkeypatch):
    """The next line would follow the half one, and no restart could read the journal."""
    store = opened()
    store.update("a", 1.0, X)
    before = states_of(store)
    room, write = [7], os.write

    def full(file, line):
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space left")
        room[0] = 0
        return write(file, line[:7])

    monkeypatch.setattr(store_module.os, "write", full)
    with pytest.raises(OSError, match="no space"):
        store.update("a", 2.0, X)
    monkeypatch.undo()
    assert states_of(store) == before
    store.update("a", 2.0, X)
    assert store.fleet.unit("a").n_observations == 2
    assert states_of(opened()) == states_of(store)


def test_line_that_was_refused_just_before_a_kill_is_no_reading(opened, tmp_path):
    store = opened()
    store.update("a", 1.0, X)
    with open(tmp_path / "journal-0.jsonl", "ab") as journal:
        journal.write(b'["a", 2.0, {"s9": 1.0}]\n')
    again = opened()
    assert states_of(again) == states_of(store)
    again.update("a", 2.0, X)
    assert states_of(opened()) == states_of(again)


def test_snapshot_that_is_written_late_is_still_of_its_own_readings(opened):
    """Under the number of a later one, its journal would be taken for what came after it: readings lost."""
    store = opened()
    store.update("a", 1.0, X)
    early = store.begin_snapshot()
    store.update("a", 2.0, X)
    late = store.begin_snapshot()
    store.write_snapshot(early)
    assert states_of(opened()) == states_of(store)
    store = opened()
    store.write_snapshot(late)
    assert states_of(opened()) == states_of(store)


def test_journal_goes_on_where_no_new_one_can_be_opened(opened, store_module, monkeypatch):
    """Closed too early, its number would be that of another open file, a connection say."""
    store = opened()
    store.update("a", 1.0, X)

    def refused(*_):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(store_module.os, "open", refused)
    with pytest.raises(OSError, match="no space"):
        store.begin_snapshot()
    monkeypatch.undo()
    store.update("a", 2.0, X)
    assert states_of(opened()) == states_of(store)


def test_journals_without_the_files_before_them_are_refused(opened, tmp_path):
    """A fleet would begin without its past, and nobody would know."""
    store = opened()
    store.update("a", 1.0, X)
    store.write_snapshot(store.begin_snapshot())
    (tmp_path / "fleet-1.snapshot").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="put the missing ones back"):
        opened()


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX systems")
def test_folder_is_of_one_store_at_a_time(opened, store_module, model, tmp_path):
    """Two workers of one service would each have half of the readings."""
    opened()
    with pytest.raises(BlockingIOError, match="another process has the folder"):
        store_module.Store(tmp_path, model)


def test_refused_reading_is_not_in_the_journal(opened, tmp_path):
    store = opened()
    with pytest.raises(ScorerError):
        store.update("a", 1.0, {"s9": 1.0})
    assert (tmp_path / "journal-0.jsonl").read_bytes() == b""
    assert len(opened().fleet) == 0
