"""Model files and samples of fleets whose units wander: a model that comes back without its process is another one."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from golden_cases import DATA
from reference_process import PROCESSES, dense_covariance
from wandering_fleets import four_channels, model_of

import cem
from cem.errors import ModelFileError, OptionError
from cem.model.file import encode
from cem.process.channel_process import ChannelProcess


@pytest.fixture(scope="module")
def panel():
    return four_channels()


@pytest.fixture(scope="module")
def model(panel):
    return model_of(panel)


def changed(content, change):
    """The file with another header, sealed again."""
    length = struct.unpack_from("<Q", content, 12)[0]
    header = json.loads(content[20 : 20 + length])
    change(header["model"])
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-(len(text) + 20) % 8)
    body = content[:12] + struct.pack("<Q", len(text)) + text + content[20 + length : -32]
    return body + hashlib.sha256(body).digest()


def test_a_saved_model_keeps_its_processes(model, panel, tmp_path):
    model.save(tmp_path / "wander.cem")
    back = cem.load(tmp_path / "wander.cem")
    assert back.process_ == model.process_
    np.testing.assert_array_equal(back.score_samples(panel), model.score_samples(panel))
    assert struct.unpack_from("<I", encode(model), 8)[0] == 5


def test_other_models_keep_their_version(panel):
    assert struct.unpack_from("<I", encode(model_of(panel, None)), 8)[0] == 1


def test_the_golden_file_loads_for_ever(panel):
    """It was written by the first release that has processes."""
    model = cem.load(DATA / "golden-5-process.cem")
    numbers = json.loads((DATA / "golden-process.json").read_text())
    np.testing.assert_allclose(model.score_samples(panel), numbers["score_samples"], rtol=1e-10)
    np.testing.assert_allclose(model.forecast(panel, [10.0, 60.0], "x2").variance, numbers["variance"], rtol=1e-8)


@pytest.mark.parametrize(
    "processes",
    [
        None,
        [None] * 4,
        [],
        [{"kind": "wiener", "ratio": 1.0, "rate": None}],
        [{"kind": "brown", "ratio": 1.0, "rate": None}, None, None, None],
        [{"kind": ["wiener"], "ratio": 1.0, "rate": None}, None, None, None],
        [{"kind": "wiener", "ratio": True, "rate": None}, None, None, None],
        [{"kind": "wiener", "ratio": {"float": "nan"}, "rate": None}, None, None, None],
        [{"kind": "wiener", "ratio": {"float": "inf"}, "rate": None}, None, None, None],
        [{"kind": "wiener", "ratio": 10**400, "rate": None}, None, None, None],
        [{"kind": "wiener", "ratio": -1.0, "rate": None}, None, None, None],
        [{"kind": "ou", "ratio": 1.0, "rate": None}, None, None, None],
        [{"kind": "ou", "ratio": 1.0, "rate": 0}, None, None, None],
        [{"kind": "wiener", "ratio": 1.0}, None, None, None],
        [{"kind": "wiener", "ratio": 1.5, "rate": None}, None, None, None],
    ],
    ids=range(15),
)
def test_a_file_with_wrong_processes_is_refused(model, processes):
    """The last one is sound, but not what the check panel was scored with."""
    with pytest.raises(ModelFileError):
        cem.load(changed(encode(model), lambda parts: parts.update(processes=processes)))


def test_a_sound_header_is_accepted(model):
    assert cem.load(changed(encode(model), lambda parts: None)).process_ == model.process_


def test_a_model_cannot_have_processes_beside_what_ignores_them(panel):
    with pytest.raises(OptionError, match="forward time axis"):
        model = model_of(panel)
        type(model)(**{**model._arguments(), "time_axis": "to_failure"})
    with pytest.raises(OptionError, match="4 channels"):
        model_of(panel, [ChannelProcess("wiener", 1.0)])


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_drawn_paths_have_the_covariance_of_the_process(process):
    times = np.array([3.0, 3.5, 3.5, 5.0, 9.0])
    n = 20_000
    rng = np.random.default_rng(0)
    shuffled = np.array([1, 0, 3, 2, 4])
    offsets = np.arange(n + 1) * 5
    paths = process.drawn(np.tile(times[shuffled], n), offsets, rng).reshape(n, 5)[:, np.argsort(shuffled)]
    expected = dense_covariance(process, times) - np.eye(5)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected))) + 1e-12
    np.testing.assert_allclose((paths.T @ paths / n - expected) / scale, 0.0, atol=0.05)


def test_samples_wander_as_the_model_says(model):
    """The misfits of drawn units have the law that the model expects; without a wander they were too small."""
    drawn = model.sample(400, np.linspace(0.0, 20.0, 12), random_state=1)
    found = model.novelty(drawn)
    assert np.median(found) == pytest.approx(0.5, abs=0.08)
    assert (found < 0.05).mean() == pytest.approx(0.05, abs=0.035)
