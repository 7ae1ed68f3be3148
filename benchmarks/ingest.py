"""Getting the data in: a long table of 5 million rows as a data frame, CSV or Parquet becomes a panel.

Peak memory is of a process that does nothing else: what it grew by over the imports (for a frame: over the imports and
the frame itself, and the same with the frame counted), as a multiple of the bytes of the columns used (unit, time and
channels at 8 bytes a cell).
"""

from __future__ import annotations

from common import harness

import tempfile  # isort: skip
from pathlib import Path

import numpy as np
from common.fleets import draw_fleet

import cem
from cem.tables import read_panel

CHANNELS = 3
ROLES = {"unit": "unit", "time": "time", "channels": [f"s{c + 1}" for c in range(CHANNELS)]}


def columns(n_rows: int) -> dict[str, np.ndarray]:
    fleet = draw_fleet(n_rows // 14, (14, 14), n_modes=2, p=2, n_channels=CHANNELS, seed=3)
    return fleet.columns()


def write(n_rows: int, folder: str) -> dict[str, object]:
    """The table in every format, written by a process of its own."""
    import pandas as pd

    frame = pd.DataFrame(columns(n_rows))
    frame.to_parquet(Path(folder) / "table.parquet", index=False)
    frame.to_csv(Path(folder) / "table.csv", index=False, float_format="%.6f")
    for name, values in frame.items():
        np.save(Path(folder) / f"{name}.npy", values.to_numpy())
    return {"n_rows": len(frame), "bytes": int(frame.memory_usage(index=False).sum())}


def ingest(source: str, folder: str) -> dict[str, object]:
    """One way in."""
    path = Path(folder)
    names = ["unit", "time", *ROLES["channels"]]
    if source in ("csv", "parquet"):
        import pyarrow.csv
        import pyarrow.parquet

        before = harness.settled_bytes()
        panel, seconds, processor = harness.once(lambda: read_panel(path / f"table.{source}", **ROLES))
        frame_bytes = 0
    else:
        data = {name: np.load(path / f"{name}.npy") for name in names}
        if source == "pandas":
            import pandas as pd

            frame = pd.DataFrame(data, copy=False)
        elif source == "polars":
            import polars as pl

            frame = pl.DataFrame(data)
            del data
        else:
            import pyarrow as pa

            frame = pa.table(data)
        small = frame.head(100) if hasattr(frame, "head") else frame.slice(0, 100)
        cem.Panel.from_frame(small, **ROLES)
        frame_bytes = 8 * len(names) * len(frame)
        before = harness.settled_bytes()
        panel, seconds, processor = harness.once(lambda: cem.Panel.from_frame(frame, **ROLES))
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "beyond_bytes": harness.peak_bytes() - before,
        "frame_bytes": frame_bytes,
        "n_units": panel.n_units,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        written = harness.in_subprocess(__file__, "write", 50_000 if options.quick else 5_000_000, folder)
        for source in ("pandas", "polars", "pyarrow", "csv", "parquet"):
            run = harness.in_subprocess(__file__, "ingest", source, folder)
            run.pop("peak_bytes")
            rows.append(
                {
                    "source": source,
                    "n_rows": written["n_rows"],
                    "columns": 2 + CHANNELS,
                    "column_bytes": written["bytes"],
                    **run,
                    "beyond_multiple": run["beyond_bytes"] / written["bytes"],
                    "total_multiple": (run["beyond_bytes"] + run["frame_bytes"]) / written["bytes"],
                    "target_multiple": 3.0,
                }
            )
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    harness.case_main({"write": write, "ingest": ingest})
    main()
