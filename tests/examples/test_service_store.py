"""The store of the service example: whatever was accepted is there after a restart, and nothing twice."""

from __future__ import annotations

import importlib.util

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
        stores.append(store_module.Store(tmp_path, model))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


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


def test_refused_reading_is_not_in_the_journal(opened, tmp_path):
    store = opened()
    with pytest.raises(ScorerError):
        store.update("a", 1.0, {"s9": 1.0})
    assert (tmp_path / "journal-0.jsonl").read_bytes() == b""
    assert len(opened().fleet) == 0
