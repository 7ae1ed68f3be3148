"""What golden snapshots of fleets are compared by: who runs, what is known of each unit, and which rules are met."""

import json

import numpy as np
from golden_cases import DATA, panel_of
from golden_cases import record as of_models

import cem
from cem.scoring import Fleet, ModeAlarm, NoveltyAlarm

RECORD = DATA / "golden-fleets.json"
SNAPSHOTS = {
    "golden-fleet-1-text.snapshot": "golden-1-labels.cem",
    "golden-fleet-1-linked.snapshot": "golden-2-linked.cem",
}


def record():
    return json.loads(RECORD.read_text())


def made(name):
    """The fleet that was saved: text ids, rules and an evicted unit; or integers and linked channels."""
    model = cem.load(DATA / SNAPSHOTS[name])
    panel = panel_of(of_models()["panel"], model.channels)
    is_text = name.endswith("text.snapshot")
    rules = [NoveltyAlarm(below=0.9, readings=2), ModeAlarm(model.mode_labels[0], above=0.01)] if is_text else []
    fleet = model.scorer().fleet(alarms=rules, late="refuse", time="hours", evicted="begin")
    for l in range(panel.n_units):
        own = slice(panel.offsets[l], panel.offsets[l + 1])
        for t, x in zip(panel.times[own], panel.values[own], strict=True):
            fleet.update(f"pümpe {l}" if is_text else l - 2, t, x)
    fleet.begin("idle" if is_text else 2**40)
    fleet.evict(["pümpe 3"] if is_text else [-2])
    return fleet


def loaded(name):
    return Fleet.load(DATA / name, cem.load(DATA / SNAPSHOTS[name]))


def numbers(fleet):
    units = [fleet.unit(id) for id in fleet.ids]
    return {
        "ids": fleet.ids,
        "evicted": sorted(fleet.evicted_ids, key=str),
        "observations": [unit.n_observations for unit in units],
        "probabilities": fleet.probabilities().mode_probabilities.tolist(),
        "novelty": [None if np.isnan(unit.novelty()) else unit.novelty() for unit in units],
        "alarms": [[alarm.id, type(alarm.rule).__name__, alarm.readings] for alarm in fleet.alarms()],
        "options": dict(sorted(fleet._options.items())),
    }
