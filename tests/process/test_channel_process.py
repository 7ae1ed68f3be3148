"""The state-space form of a channel's process: a wrong step would make every likelihood of a wandering unit wrong."""

from __future__ import annotations

import numpy as np
import pytest
from reference_process import PROCESSES

from cem.errors import OptionError
from cem.process.channel_process import ChannelProcess, process_kinds


def matrices(process, gap):
    a, d, uu, uv, vv = process.steps(np.array([gap]))[0]
    return np.array([[a, d], [0.0, 1.0]]), np.array([[uu, uv], [uv, vv]])


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_two_steps_are_one_long_step(process):
    """Otherwise a reading that is missing would change what the model says of the others."""
    (A, Q), (B, S), (whole, noise) = matrices(process, 0.4), matrices(process, 1.7), matrices(process, 2.1)
    np.testing.assert_allclose(B @ A, whole, rtol=1e-14)
    np.testing.assert_allclose(B @ Q @ B.T + S, noise, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_no_time_is_no_step(process):
    A, Q = matrices(process, 0.0)
    np.testing.assert_array_equal(A, np.eye(2))
    np.testing.assert_array_equal(Q, 0.0)


def test_an_ou_process_is_stationary():
    """Its law must not depend on which of a unit's readings comes first."""
    process = ChannelProcess("ou", 2.0, 0.3)
    A, Q = matrices(process, 1.1)
    assert A[0, 0] ** 2 * process.start_variance + Q[0, 0] == pytest.approx(process.start_variance, rel=1e-14)


def test_options_are_by_channel():
    channels = ("a", "b", "c")
    assert process_kinds(None, channels) == (None, None, None)
    assert process_kinds("wiener", channels) == ("wiener",) * 3
    assert process_kinds({"a": "ou", None: "integrated"}, channels) == ("ou", "integrated", "integrated")
    assert process_kinds({"a": None, None: "wiener"}, channels) == (None, "wiener", "wiener")


@pytest.mark.parametrize(
    "given, message",
    [
        ("brownian", "process is 'brownian'; None, or one of 'wiener'"),
        ({"a": 3}, "process of channel 'a' is 3"),
        ({"z": "ou"}, "process names channel 'z'; the channels are 'a', 'b'"),
        (True, "process is True"),
    ],
)
def test_a_wrong_option_is_named(given, message):
    with pytest.raises(OptionError, match=message):
        process_kinds(given, ("a", "b"))


@pytest.mark.parametrize(
    "arguments",
    [("brown", 1.0), ("wiener", -1.0), ("wiener", np.nan), ("wiener", 1.0, 2.0), ("ou", 1.0), ("ou", 1.0, 0.0)],
)
def test_a_process_that_cannot_be_is_refused(arguments):
    with pytest.raises(OptionError):
        ChannelProcess(*arguments)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_one_step_is_that_of_many(process):
    """A stream would drift from the batch; a gap beyond all reason would end it with an OverflowError."""
    gaps = np.array([0.0, 1e-9, 0.3, 7.0, 1e5, 1e200])
    with np.errstate(all="ignore"):
        many = process.steps(gaps)
    for gap, wanted in zip(gaps.tolist(), many, strict=True):
        np.testing.assert_allclose(process.step(gap), wanted, rtol=1e-15)
