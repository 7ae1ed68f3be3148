"""The scoring service of examples/service under load: latencies, errors, and what a kill -9 loses.

    python benchmarks/service.py              # writes benchmarks/results/service.json

Three runs of examples/service/load_test.py: 10^5 requests of one reading at 500 a second, the service and its client on
a core each, and SIGKILL after half of them. Where FastAPI or uvicorn is not installed, it says so and writes nothing.
"""

from __future__ import annotations

from common import harness

import importlib.metadata  # isort: skip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXAMPLE = harness.HERE.parent / "examples" / "service"
RUNS = 3


def one_run(requests: int) -> dict[str, Any]:
    """The figures of one load test; a fault in it is a figure too."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "load_test.py", "--requests", str(requests), "--json", str(figures)]
        subprocess.run(command, cwd=EXAMPLE, check=False)
        found: dict[str, Any] = json.loads(figures.read_text())
    return found


def main() -> None:
    options = harness.arguments(__doc__)
    try:
        versions = {name: importlib.metadata.version(name) for name in ("fastapi", "uvicorn")}
    except importlib.metadata.PackageNotFoundError as error:
        print(f"{error.name} is not installed: nothing was measured")
        return
    before = harness.load_average()
    rows = [
        {"run": run, **one_run(2_000 if options.quick else 100_000)}
        for run in range(1, 2 if options.quick else RUNS + 1)
    ]
    harness.write_results(__file__, options, rows, load_before=before, **versions)


if __name__ == "__main__":
    main()
