"""The service under load on the loopback, killed in the midst: latencies, errors, and whether any state was lost.

    python load_test.py [--requests 100000] [--rate 500] [--units 1000]

The service and this client get a core each, where the system lets a process choose. Requests leave at fixed times,
whether or not earlier ones were answered, and a latency counts from the time at which its request should have left.
After half of the requests the service is killed with SIGKILL and started again; what it had not answered is sent again.
In the end each unit must have the bits of a unit that was updated here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import cem

HERE = Path(__file__).resolve().parent
CONNECTIONS = 16


class Client:
    """As much of HTTP as this needs: connections that stay open, a queue of those that are free."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self._free.put_nowait(None)

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer; OSError where the service is away."""
        connection = await self._free.get()
        try:
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = connection
            content = b"" if body is None else json.dumps(body).encode()
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\n\r\n"
            )
            writer.write(head.encode() + content)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
            answer = json.loads(await reader.readexactly(length))
            self._free.put_nowait(connection)
            return int(lines[0].split()[1]), answer
        except (OSError, asyncio.IncompleteReadError) as error:
            if connection is not None:
                connection[1].close()
            self._free.put_nowait(None)
            raise OSError(str(error)) from None


def started(port: int, model: Path, state: Path) -> subprocess.Popen[bytes]:
    """The service in a process of its own, on the first core."""
    environment = {**os.environ, "CEM_MODEL": str(model), "CEM_STATE": str(state), "CEM_SNAPSHOT_SECONDS": "5"}
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen([*command, "--no-access-log"], cwd=HERE, env=environment)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(process.pid, cores[:1])
    return process


async def ready(client: Client) -> None:
    """Until the service answers."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            if (await client.ask("GET", "/health"))[0] == 200:
                return
        await asyncio.sleep(0.1)
    raise SystemExit("the service did not start")


async def send(client: Client, reading: dict[str, Any], due: float, found: list[float], errors: list[str]) -> bool:
    """One request; whether it was answered. 409: it had been taken before the service was killed."""
    try:
        status, answer = await client.ask("POST", "/readings", reading)
    except OSError:
        return False
    found.append(time.perf_counter() - due)
    if status not in (200, 409):
        errors.append(f"{status}: {answer}")
    return True


async def burst(
    client: Client, readings: list[dict[str, Any]], rate: float, found: list[float], errors: list[str]
) -> list[dict[str, Any]]:
    """All readings at their times; those that were not answered."""
    start, tasks = time.perf_counter() + 0.1, []
    for i, reading in enumerate(readings):
        due = start + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(send(client, reading, due, found, errors)))
    answered = await asyncio.gather(*tasks)
    return [reading for reading, is_answered in zip(readings, answered, strict=True) if not is_answered]


async def killed_amid(
    client: Client, readings: list[dict[str, Any]], service: subprocess.Popen[bytes], errors: list[str]
) -> list[dict[str, Any]]:
    """Send some readings at once and kill the service while it works on them; those that were not answered."""
    now = time.perf_counter()
    tasks = [asyncio.create_task(send(client, reading, now, [], errors)) for reading in readings]
    await asyncio.sleep(0.004)
    service.send_signal(signal.SIGKILL)
    answered = await asyncio.gather(*tasks)
    return [reading for reading, is_answered in zip(readings, answered, strict=True) if not is_answered]


async def run(options: argparse.Namespace) -> int:
    """One run; the number of faults."""
    panel = cem.datasets.load_demo_fleet()
    model = cem.FailureModeEM(3, covariance="pooled", n_init=2, random_state=0).fit(panel).model_
    rng = np.random.default_rng(9000)
    readings = []
    for i in range(options.requests):
        row = panel.values[rng.integers(len(panel.times))]
        values = {name: None if np.isnan(x) else float(x) for name, x in zip(panel.channels, row, strict=True)}
        readings.append({"unit": f"pump {i % options.units}", "time": float(i // options.units), "values": values})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.cem")
        service = started(port, Path(folder) / "model.cem", Path(folder) / "state")
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[1:2])
        try:
            client, found, errors = Client(port), [], []
            await ready(client)
            half, amid = len(readings) // 2, len(readings) // 2 + CONNECTIONS
            again = await burst(client, readings[:half], options.rate, found, errors)
            again += await killed_amid(client, readings[half:amid], service, errors)
            killed = time.perf_counter()
            service.wait()
            service = started(port, Path(folder) / "model.cem", Path(folder) / "state")
            client = Client(port)
            await ready(client)
            away = time.perf_counter() - killed
            lost = await burst(client, again + readings[amid:], options.rate, found, errors)
            fleet = model.scorer().fleet()
            for reading in readings:
                fleet.update(reading["unit"], reading["time"], reading["values"])
            differ = 0
            for id in fleet:
                status, answer = await client.ask("GET", f"/units/{id.replace(' ', '%20')}")
                unit = fleet.unit(id)
                same = status == 200 and answer["mode_probabilities"] == unit.mode_probabilities().tolist()
                differ += not (same and answer["observations"] == unit.n_observations)
        finally:
            service.terminate()
            service.wait()
    p50, p99, p999 = np.quantile(found, [0.5, 0.99, 0.999]) * 1e3
    if options.json:
        figures = {"answers": len(found), "p50_ms": p50, "p99_ms": p99, "p99.9_ms": p999, "errors": len(errors)}
        figures |= {"lost": len(lost), "units_that_differ": differ, "sent_again": len(again), "seconds_away": away}
        options.json.write_text(json.dumps(figures))
    print(
        f"{len(found):,} answers at {options.rate:g} a second: median {p50:.2f} ms, 99 % {p99:.2f} ms, "
        f"99.9 % {p999:.2f} ms; {len(errors)} errors, {len(lost)} lost, {differ} of {len(fleet)} units differ; "
        f"away for {away:.1f} s, {len(again)} sent again",
        *errors[:3],
        sep="\n",
    )
    return len(errors) + len(lost) + differ


def main() -> None:
    """Parse the options, run, and exit with 1 after a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="file for the figures")
    sys.exit(1 if asyncio.run(run(parser.parse_args())) else 0)


if __name__ == "__main__":
    main()
