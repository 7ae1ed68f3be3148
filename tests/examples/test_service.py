"""The service example over its own ASGI interface: what is no reading is refused with a body that says why."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys

import pytest
from places import ROOT
from scorer_cases import make_model

from cem.scoring.scorer import Scorer

pytest.importorskip("fastapi", reason="the service example needs FastAPI")

FOLDER = ROOT / "examples" / "service"


@pytest.fixture
def service(tmp_path, monkeypatch):
    if not FOLDER.exists():
        pytest.skip("the source distribution has no examples")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("CEM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CEM_MODEL", "none")
    monkeypatch.setenv("CEM_SNAPSHOT_SECONDS", "1000")
    for name in ("service", "store"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("service")
    model = make_model(("line", "polynomial"))
    model.scorer = lambda: Scorer(model)
    store = importlib.import_module("store")
    monkeypatch.setattr(module, "open_store", lambda folder, _, **options: store.Store(folder, model, **options))
    yield module
    for name in ("service", "store"):
        sys.modules.pop(name, None)


async def asked(app, method, path, body=b""):
    """Status and body of one request."""
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": [(b"content-type", b"application/json")], "http_version": "1.1", "asgi": {"version": "3.0"}}
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def run(service, *requests):
    """The answers, in one life of the service."""

    async def all_of_them():
        async with service.lifespan(service.app):
            return [await asked(service.app, *request) for request in requests]

    return asyncio.run(all_of_them())


def reading(values='{"s0": 9062}', time="1", unit='"a"'):
    return "POST", "/readings", f'{{"unit": {unit}, "time": {time}, "values": {values}}}'.encode()


@pytest.mark.parametrize(
    "request_",
    [
        reading(time="NaN"),
        reading(time="1e999"),
        reading(time="true"),
        reading(time='"1"'),
        reading('{"s0": NaN}'),
        reading('{"s0": -Infinity}'),
        reading('{"s0": "1"}'),
        reading('{"s9": 1}'),
        reading("NaN"),
        reading(unit="NaN"),
        reading(unit='""'),
        reading(unit='"\\ud800"'),
        reading(unit="7"),
        ("POST", "/readings", b'{"unit": "a", "time": 1, "values": {}, "valeus": {"s0": 1}}'),
        ("POST", "/readings", b'{"unit": "a"'),
        ("POST", "/readings", b""),
    ],
    ids=lambda request: request[2].decode()[:60] or "nothing",
)
def test_what_is_no_reading_is_refused_with_a_reason_and_kept_nowhere(service, request_):
    """NaN in a wrong place was an internal error, and NaN as a value was taken without a word."""
    (status, answer), health = run(service, request_, ("GET", "/health"))
    assert status == 422
    assert answer["detail"]
    assert health == (200, {"units": 0})


def test_units_are_found_by_any_name_and_unknown_ones_are_404(service):
    answers = run(
        service, reading(unit='"hall 1/pump"'), ("GET", "/units/hall 1/pump"), ("GET", "/units/b"), ("GET", "/alarms")
    )
    assert [status for status, _ in answers] == [200, 200, 404, 200]
    assert answers[1][1]["last_time"] == 1.0


def test_full_disk_is_503_and_the_same_reading_is_taken_later(service, monkeypatch):
    store = sys.modules["store"]

    def full(*_):
        raise OSError("no space left")

    async def both():
        async with service.lifespan(service.app):
            with monkeypatch.context() as patched:
                patched.setattr(store.os, "write", full)
                refused = await asked(service.app, *reading())
            return refused, await asked(service.app, *reading())

    (refused, why), (taken, _) = asyncio.run(both())
    assert (refused, taken) == (503, 200)
    assert "no space left" in why["detail"]


def test_orderly_stop_leaves_one_snapshot_with_everything(service, tmp_path):
    run(service, reading(), reading(time="2"))
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["fleet-1.snapshot", "journal-1.jsonl"]
    ((status, answer),) = run(service, ("GET", "/units/a"))
    assert (status, answer["observations"]) == (200, 2)
