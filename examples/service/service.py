"""A scoring service: readings by HTTP, one a request; nothing that was answered is lost by kill -9.

    pip install -r requirements.txt
    CEM_MODEL=pumps.cem CEM_STATE=state uvicorn service:app --port 8000

One process keeps the fleet, since the states are in its memory. More machines than a process can serve go to several
services, each with the units of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from store import Known, Store, open_store

import cem
from cem.scoring import NoveltyAlarm

SNAPSHOT_SECONDS = float(os.environ.get("CEM_SNAPSHOT_SECONDS", "60"))
RULES = [NoveltyAlarm(below=1e-4, readings=3)]


class Reading(BaseModel):
    """What a machine sends; channels that it leaves out are missing."""

    unit: str
    time: float
    values: dict[str, float | None]


async def snapshots(store: Store) -> None:
    """A snapshot now and then. The loop stands still only while the states are copied, not while the disk writes."""
    while True:
        await asyncio.sleep(SNAPSHOT_SECONDS)
        await asyncio.to_thread(store.write_snapshot, store.begin_snapshot())


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the store, and take snapshots until the service ends."""
    app.state.store = open_store(os.environ["CEM_STATE"], os.environ["CEM_MODEL"], alarms=RULES)
    task = asyncio.create_task(snapshots(app.state.store))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    app.state.store.write_snapshot(app.state.store.begin_snapshot())
    app.state.store.close()


app = FastAPI(lifespan=lifespan)


@app.post("/readings")
async def take(reading: Reading) -> dict[str, Any]:
    """One reading; 409 for one that the service has already, 422 for one that cannot be scored."""
    store: Store = app.state.store
    try:
        probabilities = store.update(reading.unit, reading.time, reading.values)
    except Known as error:
        raise HTTPException(409, str(error)) from None
    except cem.ScorerError as error:
        raise HTTPException(422, str(error)) from None
    return {"mode_probabilities": probabilities.tolist()}


@app.get("/units/{id}")
async def unit(id: str) -> dict[str, Any]:
    """Where one unit stands."""
    fleet = app.state.store.fleet
    if id not in fleet:
        raise HTTPException(404, f"there is no unit {id!r}")
    found = fleet.unit(id)
    return {
        "mode_probabilities": found.mode_probabilities().tolist(),
        "novelty": found.novelty(),
        "observations": found.n_observations,
        "last_time": found.last_time,
    }


@app.get("/alarms")
async def alarms() -> list[dict[str, Any]]:
    """Units that meet a rule now."""
    return [
        {"unit": alarm.id, "rule": repr(alarm.rule), "readings": alarm.readings}
        for alarm in app.state.store.fleet.alarms()
    ]


@app.get("/health")
async def health() -> dict[str, Any]:
    """Whether the service answers, and for how many units."""
    return {"units": len(app.state.store.fleet)}
