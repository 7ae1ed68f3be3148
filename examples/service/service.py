"""A scoring service: readings by HTTP; nothing that was answered is lost by kill -9.

    pip install -r requirements.txt
    CEM_MODEL=pumps.cem CEM_STATE=state uvicorn service:app --port 8000

One process keeps the fleet, since the states are in its memory. More machines than a process can serve go to several
services, each with the units of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from store import Known, Store, open_store

import cem
from cem.scoring import NoveltyAlarm

SNAPSHOT_SECONDS = float(os.environ.get("CEM_SNAPSHOT_SECONDS", "60"))
RULES = [NoveltyAlarm(below=1e-4, readings=3)]


class Reading(BaseModel):
    """What a machine sends; channels that it leaves out, or that are null, are missing."""

    model_config = ConfigDict(strict=True, extra="forbid")

    unit: str = Field(min_length=1, max_length=200)
    time: FiniteFloat
    values: dict[str, FiniteFloat | None]


async def snapshots(store: Store, ends: asyncio.Event) -> None:
    """A snapshot now and then. The loop stands still only while the states are copied, not while the disk writes."""
    is_last = False
    while not is_last:
        with contextlib.suppress(TimeoutError):
            is_last = await asyncio.wait_for(ends.wait(), SNAPSHOT_SECONDS)
        try:
            await asyncio.to_thread(store.write_snapshot, store.begin_snapshot())
        except Exception:  # a full disk, say: the journals go on, and the next snapshot may do
            logging.getLogger("uvicorn.error").exception("no snapshot was written; the journals have all readings")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the store, and take snapshots until the service ends; a last one then."""
    app.state.store = open_store(os.environ["CEM_STATE"], os.environ["CEM_MODEL"], alarms=RULES)
    ends = asyncio.Event()
    task = asyncio.create_task(snapshots(app.state.store, ends))
    yield
    ends.set()
    await task
    app.state.store.close()


app = FastAPI(lifespan=lifespan)


@app.exception_handler(RequestValidationError)
async def refuse(request: Request, error: RequestValidationError) -> Response:
    """422 without the input: FastAPI's own answer repeats it, and fails if it has NaN, which JSON lacks."""
    found = [{"loc": fault["loc"], "msg": fault["msg"], "type": fault["type"]} for fault in error.errors()]
    return Response(json.dumps({"detail": found}), 422, media_type="application/json")


@app.post("/readings")
async def take(reading: Reading) -> dict[str, Any]:
    """One reading; 409 for one that the service has already, 422 for one that cannot be scored, 503 on a full disk."""
    store: Store = app.state.store
    try:
        probabilities = store.update(reading.unit, reading.time, reading.values)
    except Known as error:
        raise HTTPException(409, str(error)) from None
    except cem.ScorerError as error:
        raise HTTPException(422, str(error)) from None
    except OSError as error:
        raise HTTPException(503, f"the reading was not taken, since it cannot be kept: {error}") from None
    return {"mode_probabilities": probabilities.tolist()}


@app.get("/units/{id:path}")
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
        "last_time": found.last_time if found.n_observations else None,
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
