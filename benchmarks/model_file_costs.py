"""What loading or refusing a model file takes, at most: ``python benchmarks/model_file_costs.py``.

Sound files of unusual shape, and files made to be dear (their checksums are right). Each is loaded in a process of its
own that has loaded a small model before. The bounds: 50 ms and 1 us a byte of processor time, ten times the file and
50 MB of memory. Ends with exit code 1 where a bound does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import cem
from cem.basis import Basis, BSpline, Constant, Fourier, Polynomial
from cem.covariates import Category, Power, Regimes, Spline
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.mixture.parameters import Parameters
from cem.model.file import MAX_HEADER, encode
from cem.model.model import FailureModeModel
from cem.statistics.coordinates import Coordinates

LOADED = """
import sys, time
import cem
from cem.errors import ModelFileError

def peak():  # of this program alone: getrusage starts from that of the process which forked it
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

cem.load(sys.argv[2])
before = peak()
start = time.process_time()
try:
    cem.load(sys.argv[1])
    outcome = "loaded"
except ModelFileError as error:
    outcome = "refused: " + str(error).split(": ", 1)[1][:70]
seconds = time.process_time() - start
print(seconds, (peak() - before) * 1024, outcome, sep="|")
"""


def model(
    n_modes: int, bases: list[Basis], rank: int = 0, training: dict[str, object] | None = None
) -> FailureModeModel:
    """A sound model of any shape, its numbers drawn."""
    rng = np.random.default_rng(0)
    sizes = tuple(basis.size for basis in bases)
    triangles = [np.tril(0.1 * rng.normal(size=(n_modes, p, p))) + np.eye(p) for p in sizes]
    uppers = [np.triu(0.01 * rng.normal(size=(p, p))) + np.eye(p) for p in sizes]
    return FailureModeModel(
        parameters=Parameters(
            np.full(n_modes, 1 / n_modes),
            rng.normal(size=(n_modes, sum(sizes))),
            np.concatenate([part.reshape(n_modes, -1) for part in triangles], axis=1),
            np.ones((n_modes, len(sizes))),
            sizes,
            0.1 * rng.normal(size=(n_modes, sum(sizes), rank)) if rank else None,
        ),
        coordinates=Coordinates(
            np.zeros(sum(sizes)), np.ones(len(sizes)), np.concatenate([part.ravel() for part in uppers]), sizes
        ),
        bases=[basis.bind([0.0, 100.0]) for basis in bases],
        channels=[f"s{c}" for c in range(len(sizes))],
        training=training,
    )


def conditioned(n_modes: int, n_channels: int, n_levels: int = 3) -> FailureModeModel:
    """A sound model whose channels are read in six regimes, with common columns of a number and a category."""
    plain = model(n_modes, [Polynomial(2)] * n_channels)
    rng = np.random.default_rng(0)
    n = max(3000, 3 * n_levels)
    regimes = np.arange(n) % 6
    w = np.stack([10.0 * regimes + rng.normal(0, 0.01, n), rng.normal(size=n), np.arange(n) % n_levels], axis=1)
    columns = [Column("setting"), Column("speed"), Column("stage", tuple(f"level {i:05d}" for i in range(n_levels)))]
    learned = learned_conditions(
        columns, w, channels=plain.channels, sizes=plain.basis_sizes_,
        terms=[[Power("speed", 2), Spline("setting", 4), *([Category("stage")] if n_levels < 10 else [])]] * n_channels,
        regimes=Regimes("setting", n=6),
    )  # fmt: skip
    learned = learned.with_maps(rng.normal(size=(6, n_channels)), np.exp(rng.normal(size=(6, n_channels))))
    learned = learned.with_coefficients([rng.normal(size=len(entries)) for entries in learned.common])
    return FailureModeModel(**{**plain._arguments(), "conditions": learned})


def sealed(header: str, data: bytes, version: int = 1) -> bytes:
    """A file of this header and data whose lengths and checksum are right."""
    text = header.encode("ascii")
    text += b" " * (-(20 + len(text)) % 8)
    body = struct.pack("<8sIQ", b"\x89CEM\r\n\x1a\n", version, len(text)) + text + data
    return body + hashlib.sha256(body).digest()


def opened(content: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack_from("<Q", content, 12)
    return json.loads(content[20 : 20 + length]), content[20 + length : -32]


def sound_files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    shapes: list[tuple[str, int, list[Basis], int]] = [
        ("one mode, one constant", 1, [Constant()], 0),
        ("15 parabolas, 3 modes", 3, [Polynomial(2)] * 15, 0),
        ("one mode, degree 999", 1, [Polynomial(999)], 0),
        ("12 modes, 300 splines", 12, [BSpline(300)], 0),
        ("200 modes, 10 parabolas", 200, [Polynomial(2)] * 10, 0),
        ("1,000 modes, 1 parabola", 1000, [Polynomial(2)], 0),
        ("100 modes, 99 waves", 100, [Fourier(49)], 0),
        ("2,000 channels", 2, [Polynomial(1)] * 2000, 0),
        ("2,000 channels, own bases", 2, [Fourier(1, period=1.0 + c) for c in range(2000)], 0),
        ("60 channels, 120 factors", 2, [Polynomial(2)] * 60, 120),
        ("300 channels, 40 factors", 3, [Polynomial(2)] * 300, 40),
        ("50 modes, 20 channels, 6 factors", 50, [Polynomial(2)] * 20, 6),
    ]
    for name, n_modes, bases, rank in shapes:
        yield name, lambda n=n_modes, b=bases, r=rank: encode(model(n, b, r))
    yield "6 regimes, 15 channels", lambda: encode(conditioned(3, 15))
    yield "6 regimes, 2,000 channels", lambda: encode(conditioned(2, 2000))
    yield "a category of 90,000 levels", lambda: encode(conditioned(2, 2, 90_000))
    starts = [{"kind": "kmeans", "fate": "led", "log_likelihood": -1234.5 - i, "n_iter": i} for i in range(50_000)]
    yield "50,000 starts", lambda: encode(model(2, [Polynomial(1)], 0, {"starts": starts}))


def hostile_files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    def changed(change: Callable[[dict, dict], None], made: FailureModeModel | None = None) -> bytes:
        content = encode(model(1, [Constant()], 0) if made is None else made)
        header, data = opened(content)
        arrays = {
            entry["name"]: np.frombuffer(data, entry["dtype"], int(np.prod(entry["shape"])), entry["offset"]).reshape(
                entry["shape"]
            )
            for entry in header["arrays"]
        }
        change(header, arrays)
        header["arrays"], offset = [], 0
        for name, array in arrays.items():
            kind = f"{array.dtype.kind}8"
            header["arrays"].append({"name": name, "dtype": kind, "shape": list(array.shape), "offset": offset})
            offset += array.nbytes
        version = 3 if "conditions" in header["model"] else 2 if "loadings" in arrays else 1
        return sealed(json.dumps(header), b"".join(array.tobytes() for array in arrays.values()), version)

    def wide_panel(header: dict, arrays: dict) -> None:
        arrays["check_offsets"] = np.arange(100_001)
        arrays["check_times"], arrays["check_values"] = np.ones(100_000), np.ones((100_000, 1))

    def many_factors(header: dict, arrays: dict) -> None:
        arrays["loadings"] = np.ones((1, 1, 1200))

    def large_basis(header: dict, arrays: dict) -> None:
        header["model"]["bases"][0]["options"] = {"degree": 999}
        header["model"]["bases"][0]["type"] = "Polynomial"

    def many_large_bases(header: dict, arrays: dict) -> None:
        bases = [Polynomial(999).bind([0.0, 1.0 + i]).to_dict() for i in range(20_000)]
        header["model"].update(bases=bases, channels=[f"s{i}" for i in range(20_000)])

    def many_modes(header: dict, arrays: dict) -> None:
        n = 60_000
        arrays["weights"] = np.full(n, 1 / n)
        for name in ("means", "factors", "noise_variances"):
            arrays[name] = np.ones((n, 1))
        arrays["check_offsets"] = np.arange(n + 1)
        arrays["check_times"], arrays["check_values"] = np.ones(n), np.ones((n, 1))
        header["model"]["mode_labels"] = list(range(n))

    def labels_of_one_hash(header: dict, arrays: dict) -> None:
        n = 60_000
        arrays["weights"] = np.full(n, 1 / n)
        for name in ("means", "factors", "noise_variances"):
            arrays[name] = np.ones((n, 1))
        header["model"]["mode_labels"] = [i * (2**61 - 1) for i in range(n)]

    def bases_of_one_hash(header: dict, arrays: dict) -> None:
        numbers = [2.0 ** (61 * j) for j in range(-16, 16)]
        bases = [Fourier(1, period).bind([-low, high]) for low in numbers for high in numbers for period in numbers[:8]]
        n = len(bases)
        for name, size in {"means": 3, "factors": 9, "noise_variances": 1}.items():
            arrays[name] = np.ones((1, size * n))
        for name, size in {"centres": 3, "transforms": 9, "scales": 1}.items():
            arrays[name] = np.ones(size * n)
        header["model"].update(bases=[basis.to_dict() for basis in bases], channels=[f"s{i}" for i in range(n)])

    def long_response(header: dict, arrays: dict) -> None:
        header["model"]["response"] = "a" * 10_000_000

    def many_constants(header: dict, arrays: dict) -> None:
        options = {"time_constants": [*range(1, 900_001), "x"], "reference": None}
        header["model"]["bases"][0].update(type="Exponential", options=options)

    def levels_of_one_hash(header: dict, arrays: dict) -> None:
        header["model"]["conditions"]["columns"][2]["levels"] = [i * (2**61 - 1) for i in range(100_000)]

    def many_features(header: dict, arrays: dict) -> None:
        conditions = header["model"]["conditions"]
        conditions["features"] += [conditions["features"][0]] * 9_000

    def many_columns(header: dict, arrays: dict) -> None:
        conditions = header["model"]["conditions"]
        conditions["common"] = [[[0, -1]] * 1000] * 15

    def many_regimes(header: dict, arrays: dict) -> None:
        conditions = header["model"]["conditions"]
        n, regimes = 100, conditions["regimes"]
        regimes.update(n=n, labels=["x"] * n, counts=[1] * n, places=[[float(i)] for i in range(n)], reaches=[0.1] * n)
        conditions.update(offsets=[[0.5] * 15] * n, scales=[[0.5] * 15] * n)

    def filled(text: str) -> bytes:
        """A header of that many bytes made of one piece."""
        return sealed("[" + text * (MAX_HEADER // len(text) - 8) + "0]", b"")

    yield "check panel of 100,000 units", lambda: changed(wide_panel)
    yield "1,200 factors of one channel", lambda: changed(many_factors)
    yield "degree 999 in a small file", lambda: changed(large_basis)
    yield "20,000 bases of degree 999", lambda: changed(many_large_bases)
    yield "60,000 modes", lambda: changed(many_modes)
    yield "60,000 labels of one hash", lambda: changed(labels_of_one_hash)
    yield "8,192 bases of one hash", lambda: changed(bases_of_one_hash)
    yield "100,000 levels of one hash", lambda: changed(levels_of_one_hash, conditioned(3, 15))
    yield "9,000 features", lambda: changed(many_features, conditioned(3, 15))
    yield "1,000 columns of a channel", lambda: changed(many_columns, conditioned(3, 15))
    yield "100 regimes", lambda: changed(many_regimes, conditioned(3, 15))
    yield "a response of 10 MB", lambda: changed(long_response)
    yield "900,000 time constants", lambda: changed(many_constants)
    yield "header of empty lists", lambda: filled("[],")
    yield "header of empty objects", lambda: filled("{},")
    yield "header of numbers", lambda: filled("7,")
    yield "header of long numbers", lambda: filled("1234567.1234567,")
    yield "header of texts", lambda: filled('"ab",')
    yield "header of escapes", lambda: filled('"\\u1234\\u1234",')
    yield "header of objects", lambda: filled('{"a":{"b":0}},')
    yield "nested lists", lambda: sealed("[" * 100_000, b"")
    yield "an integer of 4,000 digits, often", lambda: filled("9" * 4000 + ",")
    record = {"deep": [[[[list(range(10))] * 10] * 10] * 10] * 10}
    yield "a wide record", lambda: encode(model(1, [Constant()], 0, record))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.parse_args()
    failed = 0
    print(f"cem {cem.__version__}\n{'file':<36}{'bytes':>12}{'ms':>9}{'of bound':>9}{'MB':>8}{'of bound':>9}  outcome")
    with tempfile.TemporaryDirectory() as folder:
        small, path = Path(folder) / "small.cem", Path(folder) / "file.cem"
        small.write_bytes(encode(model(1, [Polynomial(1)])))
        for kind in (sound_files, hostile_files):
            for name, make in kind():
                content = make()
                path.write_bytes(content)
                done = subprocess.run(
                    [sys.executable, "-c", LOADED, str(path), str(small)], capture_output=True, text=True, check=True
                )
                seconds, grown, outcome = done.stdout.strip().split("|", 2)
                time_share = float(seconds) / (0.05 + 1e-6 * len(content))
                memory_share = int(grown) / (10 * len(content) + 50e6)
                wrong = max(time_share, memory_share) > 1 or (kind is sound_files and outcome != "loaded")
                failed += wrong
                print(
                    f"{name:<36}{len(content):>12,}{1e3 * float(seconds):>9.1f}{time_share:>9.2f}"
                    f"{int(grown) / 1e6:>8.0f}{memory_share:>9.2f}  {outcome}{'  <-- BOUND' if wrong else ''}",
                    flush=True,
                )
    return failed > 0


if __name__ == "__main__":
    raise SystemExit(main())
