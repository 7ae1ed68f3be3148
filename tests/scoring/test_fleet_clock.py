"""Datetimes enter a fleet on the clock of the training panel, and are refused where that has none."""

from __future__ import annotations

import datetime
import io
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scorer_cases import make_model

import cem
from cem.errors import ScorerError
from cem.scoring.fleet import Fleet
from cem.scoring.scorer import Scorer

DAY = np.datetime64("2026-03-01T06:00:00")


def panel_of(origin, n_units=12, n_readings=8):
    rng = np.random.default_rng(0)
    hours = np.sort(rng.uniform(0, 200, (n_units, n_readings)), axis=1)
    times = [DAY + 86400 * l + (3600 * h).astype("m8[s]") for l, h in enumerate(hours)]
    values = [np.stack([0.01 * (1 + l % 2) * h, -0.02 * h], axis=1) + 0.1 * rng.normal(size=(n_readings, 2))
              for l, h in enumerate(hours)]  # fmt: skip
    options = {} if origin is None else {"origin": origin}
    return cem.Panel.from_arrays(times, values, channels=("a", "b"), time_unit="h", **options), times


def fitted(panel):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        return cem.FailureModeEM(2, n_init=1, random_state=0).fit(panel).model_


@pytest.fixture(scope="module", params=[None, "2026-02-01T00:00", "zero"], ids=["first", "fixed", "zero"])
def case(request):
    panel, times = panel_of(request.param)
    return fitted(panel), panel, times


def states_of(fleet):
    return {id: fleet.unit(id).to_bytes() for id in fleet}


def expected(model, panel):
    """The units, updated at the times that the panel counts."""
    units = {}
    for l in range(panel.n_units):
        unit = units[f"u{l}"] = model.scorer().unit()
        for row in range(*panel.offsets[l : l + 2]):
            unit.update(panel.times[row], panel.values[row])
    return {id: unit.to_bytes() for id, unit in units.items()}


@pytest.mark.parametrize(
    "kind",
    [
        lambda t: t,
        pd.Timestamp,
        lambda t: pd.Timestamp(t, tz="UTC").tz_convert("Asia/Tokyo"),
        lambda t: t.astype(datetime.datetime),
        str,
    ],
    ids=["numpy", "pandas", "zone", "datetime", "text"],
)
def test_reading_at_a_datetime_is_one_at_the_panels_time(case, kind):
    model, panel, times = case
    fleet = model.scorer().fleet()
    for l, own in enumerate(times):
        for t, x in zip(own, panel.values[panel.offsets[l] :], strict=False):
            fleet.update(f"u{l}", kind(t), x)
    assert states_of(fleet) == expected(model, panel)


@pytest.mark.parametrize(
    "kind", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas,
             lambda frame: frame.assign(time=frame["time"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))],
    ids=["pandas", "polars", "arrow", "zone"],
)  # fmt: skip
def test_batch_of_datetimes_is_the_panel_also_over_a_restart(case, kind):
    model, panel, times = case
    ids = np.repeat([f"u{l}" for l in range(panel.n_units)], np.diff(panel.offsets))
    frame = pd.DataFrame(
        {"unit": ids, "time": np.concatenate(times), **dict(zip("ab", panel.values.T, strict=True))}
    ).iloc[::1]
    fleet = model.scorer().fleet()
    fleet.update_many(kind(frame[:41]))
    file = io.BytesIO()
    fleet.save(file)
    fleet = Fleet.load(file.getvalue(), model)
    fleet.update_many(kind(frame[41:].reset_index(drop=True)))
    assert states_of(fleet) == expected(model, panel)


def test_unit_may_have_begun_before_its_first_reading_came():
    panel, times = panel_of(None)
    model = fitted(panel)
    fleet, unit = model.scorer().fleet(), model.scorer().unit()
    fleet.begin("u", start=times[0][0])
    fleet.update("u", times[0][3], panel.values[3])
    unit.update(panel.times[3], panel.values[3])
    assert fleet.unit("u").to_bytes() == unit.to_bytes()


def test_datetimes_for_a_unit_that_was_read_at_numbers_are_refused():
    """Nobody knows from where its times count."""
    panel, times = panel_of(None)
    fleet = fitted(panel).scorer().fleet()
    fleet.update("u", 3.0, panel.values[0])
    before = states_of(fleet)
    for call in (
        lambda: fleet.update("u", times[0][0], panel.values[0]),
        lambda: fleet.update_many((["u"], times[0][:1], panel.values[:1])),
    ):
        with pytest.raises(ScorerError, match="unit 'u': it has readings at numbers"):
            call()
    assert states_of(fleet) == before


def test_units_are_evicted_by_a_datetime(case):
    model, panel, times = case
    fleet = model.scorer().fleet()
    for l, own in enumerate(times):
        fleet.update(f"u{l}", own[-1], panel.values[0])
    limit = np.sort([own[-1] for own in times])[5]
    gone = {f"u{l}" for l, own in enumerate(times) if own[-1] < limit}
    assert len(gone) == 5
    assert set(fleet.evict(before=pd.Timestamp(limit))) == gone == fleet.evicted_ids


def test_model_of_numbers_refuses_datetimes():
    fleet = Scorer(make_model(("line",))).fleet()
    for call in (
        lambda: fleet.update("u", DAY, [9062.0]),
        lambda: fleet.update_many((["u"], [DAY], [[9062.0]])),
        lambda: fleet.update("u", datetime.timedelta(hours=3), [9062.0]),
        lambda: fleet.begin("u", start=DAY),
        lambda: fleet.evict(before=DAY),
    ):
        with pytest.raises(ScorerError, match="not trained on such; give numbers"):
            call()
    assert len(fleet) == 0


def test_missing_and_impossible_datetimes_are_refused(case):
    model, _, _ = case
    fleet = model.scorer().fleet()
    for t, match in ((np.datetime64("NaT"), "missing|finite|NaT"), (np.datetime64("1066-10-14"), "1678")):
        with pytest.raises(ScorerError, match=match):
            fleet.update("u", t, [1.0, 2.0])
        with pytest.raises(ScorerError, match=match):
            fleet.update_many((["u"], np.array([t]), [[1.0, 2.0]]))
    assert len(fleet) == 0
