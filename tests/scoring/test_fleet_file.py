"""Snapshots: what was saved comes back bit by bit, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from condition_cases import conditioned_model, panel_for
from model_cases import example_model
from scorer_cases import make_model

import cem
from cem.errors import OptionError, ScorerError, SnapshotError
from cem.scoring.fleet import Fleet, ModeAlarm, NoveltyAlarm
from cem.scoring.scorer import Scorer

PREFIX = 20
DIGEST = 32


def filled(scorer, ids=("a", "\N{GREEK SMALL LETTER BETA} 2", "c\0", "", "\ud800"), **options):
    """Four units with readings, one without, and one evicted."""
    fleet = scorer.fleet(**options)
    rng = np.random.default_rng(0)
    for i, id in enumerate(ids[:-1]):
        for t in range(i + 1):
            fleet.update(id, float(t), 9062 + rng.normal(size=scorer.n_channels) * 0.3)
    fleet.begin(ids[-1])
    gone = "gone" if isinstance(ids[0], str) else -5
    fleet.begin(gone)
    fleet.evict([gone])
    return fleet


def content_of(fleet):
    file = io.BytesIO()
    fleet.save(file)
    return file.getvalue()


def everything(fleet):
    return (
        {id: fleet.unit(id).to_bytes() for id in fleet}, fleet.evicted_ids, fleet.alarms(), fleet._options, fleet._rules
    )  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return example_model()


@pytest.fixture(scope="module")
def content(model):
    return content_of(filled(model.scorer()))


def sealed(content, *, header=None, numbers=None, tail=None):
    """The snapshot with changed parts, and a checksum that agrees."""
    length = int.from_bytes(content[12:20], "little")
    entries = json.loads(content[PREFIX : PREFIX + length])
    data = bytearray(content[PREFIX + length : -DIGEST])
    if header is not None:
        entries.update(header)
    if numbers is not None:
        place, value = numbers
        data[8 * place : 8 * place + 8] = np.float64(value).tobytes()
    if tail is not None:
        data = tail(data)
    text = json.dumps(entries).encode()
    text += b" " * (-(PREFIX + len(text)) % 8)
    body = content[:12] + len(text).to_bytes(8, "little") + text + bytes(data)
    return body + hashlib.sha256(body).digest()


# --------------------------------------------------------------------------------------------------------- comes back


@pytest.mark.parametrize("ids", [("a", "b é", "c\0", "", "\ud800"), (3, -(2**63), 2**63 - 1, 0)])
@pytest.mark.parametrize("rate", [None, 0.7])
def test_snapshot_restores_every_state_id_option_and_count(ids, rate, model, tmp_path):
    scorer = Scorer(model, forgetting=rate)
    rules = [NoveltyAlarm(0.9, 2), ModeAlarm(scorer.mode_labels[1], 0.01)]
    fleet = filled(scorer, ids, evicted="begin", late="refuse", alarms=rules)
    fleet.save(tmp_path / "fleet")
    content = (tmp_path / "fleet").read_bytes()
    assert content == content_of(fleet)
    for given in (scorer, model):
        for source in (tmp_path / "fleet", str(tmp_path / "fleet"), content, io.BytesIO(content)):
            assert everything(Fleet.load(source, given)) == everything(fleet)


def test_restored_fleet_goes_on_as_the_saved_one(model):
    fleet = filled(model.scorer())
    again = Fleet.load(content_of(fleet), model)
    for one in (fleet, again):
        one.update_many((["a", "new"], [9.0, 1.0], np.full((2, 3), 9062.0)))
    assert everything(fleet) == everything(again)


def test_empty_fleet_comes_back(model):
    assert everything(Fleet.load(content_of(model.scorer().fleet()), model)) == ({}, set(), [], *everything(
        model.scorer().fleet())[3:])  # fmt: skip


def test_options_may_differ_from_the_saved_ones(content, model):
    fleet = Fleet.load(content, model, late="refuse", alarms=[NoveltyAlarm(0.5)])
    assert fleet._options["late"] == "refuse"
    assert fleet.alarms() == []
    with pytest.raises(OptionError, match="unknown"):
        Fleet.load(content, model, colour="red")


# ----------------------------------------------------------------------------------------------------------- refused


def test_every_cut_snapshot_is_refused(content, model):
    for n in (0, 1, 7, 19, 60, len(content) // 2, len(content) - 33, len(content) - 1):
        with pytest.raises(SnapshotError, match="truncated"):
            Fleet.load(content[:n], model)


def test_altered_snapshot_is_refused(content, model):
    for place in range(30, len(content), 97):
        altered = bytearray(content)
        altered[place] ^= 1
        with pytest.raises(SnapshotError, match="truncated or was altered"):
            Fleet.load(bytes(altered), model)


def test_snapshot_of_another_model_or_forgetting_is_refused(content, model):
    for other in (Scorer(example_model(seed=1)), Scorer(make_model(("line",))), Scorer(model, forgetting=0.5)):
        with pytest.raises(SnapshotError, match="another model or another forgetting"):
            Fleet.load(content, other)


def test_file_of_another_kind_and_newer_snapshot_are_refused(content, model, tmp_path):
    model.save(tmp_path / "model.cem")
    with pytest.raises(SnapshotError, match="not a snapshot"):
        Fleet.load(tmp_path / "model.cem", model)
    with pytest.raises(SnapshotError, match="upgrade"):
        Fleet.load(content[:8] + b"\x09" + content[9:], model)
    with pytest.raises(cem.ModelFileError, match="not a cem model file"):
        cem.load(content)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"header": {"units": 4}}, "longer|shorter"),
        ({"header": {"units": 10**9}}, "entries"),
        ({"header": {"units": -1}}, "entries"),
        ({"header": {"numbers": 7}}, "7 numbers"),
        ({"header": {"ids": "integers"}}, "longer|shorter"),
        ({"header": {"ids": None}}, "entries"),
        ({"header": {"alarms": [3]}}, "rule of alarms"),
        ({"header": {"alarms": [{"mode": 99, "above": 0.5, "readings": 1}]}}, "rule of alarms"),
        ({"header": {"forgetting": "x"}}, "entries"),
        ({"header": {"options": {}}}, "entries"),
        ({"header": {"more": 1}}, "needs the entries"),
        ({"numbers": (0, np.nan)}, "unit 'a' is one that no readings"),
        ({"numbers": (1, 2.5)}, "unit 'a' is one that no readings"),
        ({"numbers": (9, 1e300)}, "unit 'a' is one that no readings"),
        ({"tail": lambda data: data + b"\0" * 8}, "longer"),
        ({"tail": lambda data: data[:-8]}, "shorter"),
    ],
)
def test_forged_snapshots_are_refused(content, model, change, match):
    with pytest.raises(SnapshotError, match=match):
        Fleet.load(sealed(content, **change), model)


def test_covariates_that_the_model_cannot_have_accepted_are_refused():
    model = next(m for m in map(conditioned_model, range(20)) if m.covariates and m.unit_covariates)
    panel = panel_for(model, 1)
    fleet = model.scorer().fleet()
    for l in (0, 1):
        fleet.begin(l, {name: panel.covariate(name)[l] for name in model.unit_covariates})
    row = int(panel.offsets[0])
    fleet.update(
        0, panel.times[row], panel.values[row], {name: panel.covariate(name)[row] for name in model.covariates}
    )
    content = content_of(fleet)
    n_state, n = fleet._states.n_state, fleet._states.numbers.shape[1]
    assert Fleet.load(sealed(content), model).ids == [0, 1]
    for place, value in ((n_state, np.nan), (n - 1, np.nan), (n - 1, 1e300), (2 * n - 1, 1.0), (n + n_state, np.inf)):
        with pytest.raises(SnapshotError, match="covariates that the model cannot have accepted"):
            Fleet.load(sealed(content, numbers=(place, value)), model)


def test_snapshot_with_an_id_twice_is_refused(model):
    content = content_of(filled(model.scorer(), ("aa", "bb", "cc")))
    with pytest.raises(SnapshotError, match="twice"):
        Fleet.load(sealed(content, tail=lambda data: data.replace(b"bb", b"aa")), model)


def test_random_bytes_behind_a_right_checksum_never_crash(content, model):
    rng = np.random.default_rng(0)
    length = int.from_bytes(content[12:20], "little")
    for _ in range(300):
        body = bytearray(content[:-DIGEST])
        for place in rng.integers(PREFIX, len(body), 3):
            body[place] = rng.integers(0, 256)
        body = bytes(body)
        try:
            Fleet.load(body + hashlib.sha256(body).digest(), model)
        except (SnapshotError, OptionError):
            continue
    assert length


def test_what_cannot_be_read_or_written_is_named(model, tmp_path):
    fleet = model.scorer().fleet()
    for call in (lambda: Fleet.load(tmp_path / "nothing", model), lambda: fleet.save(tmp_path)):
        with pytest.raises(SnapshotError, match=str(tmp_path)):
            call()
    content = io.BytesIO()
    fleet.save(content)
    for wrong in (None, "model.cem", fleet):
        with pytest.raises(ScorerError, match="the model of the fleet, or its scorer"):
            Fleet.load(content.getvalue(), wrong)
    for path in (3, b"bytes.snapshot"):  # which `load` takes as a snapshot, not as a path
        with pytest.raises(OptionError, match="binary mode"):
            fleet.save(path)
    many = [NoveltyAlarm(below=0.5, readings=n) for n in range(1, 40_000)]
    with pytest.raises(SnapshotError, match="fewer rules"):  # no reader would take it
        model.scorer().fleet(alarms=many).save(tmp_path / "many.snapshot")
    with pytest.raises(SnapshotError, match="binary mode"):
        fleet.save(io.StringIO())
    with pytest.raises(SnapshotError, match="binary mode"):
        Fleet.load(io.StringIO("text"), model)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_writer_leaves_the_old_or_the_new_snapshot(model, tmp_path):
    """kill -9 in the midst of saving again and again: the file always loads."""
    model.save(tmp_path / "model.cem")
    program = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(Path(cem.__file__).parents[1])!r})
        import numpy as np, cem
        fleet = cem.load({str(tmp_path / "model.cem")!r}).scorer().fleet()
        ids = list(range(2000))
        for t in range(100000):
            fleet.update_many((ids, np.full(2000, float(t)), np.full((2000, 3), 9062.0)))
            fleet.save({str(tmp_path / "fleet")!r})
            print(t, flush=True)
        """
    )
    for pause in (1, 4):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ}) as writer:
            for _ in range(pause):
                writer.stdout.readline()
            writer.kill()
        fleet = Fleet.load(tmp_path / "fleet", model)
        assert len(fleet) == 2000
        assert len({fleet.unit(id).last_time for id in (0, 999, 1999)}) == 1
        assert fleet.unit(0).last_time >= pause - 1
