"""Run aarch64 wheels on an x86-64 Debian before they are shipped, and compare what they compute with x86-64.

``python wheels/emulate.py`` takes this release's wheels; ``python wheels/emulate.py DIRECTORY`` those of a directory.

The arm64 CPythons of several Debian releases are downloaded with apt-get, from the mirror that this machine uses, and
unpacked below ``build/wheels``: package lists and caches are kept there too, so that nothing of the machine changes and
nobody has to be root. NumPy and SciPy for aarch64 come from the package index. qemu-user runs them. The golden model
file scores the same readings as an x86-64 wheel does here, to 1e-12; thirty passes of a fit of the demo fleet from one
start end at the same log-likelihood and weights to 1e-9.

Exit codes: 0 all wheels compute the same; 1 one does not; 77 this machine lacks something, which is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "wheels" / "aarch64"
COMPUTED = ROOT / "tests" / "wheel" / "computed.py"
MODEL = ROOT / "tests" / "data" / "golden-1.cem"

# Releases and their CPython: 3.11, 3.13. None has 3.12, so that no wheel of that version is built for aarch64.
RELEASES = ("bookworm", "trixie")

# A processor that exists, not qemu's "max". With that one, a fit by NumPy 2.5.5 and SciPy 1.18.1 is wrong under qemu
# 7.2; with "cortex-a72", "neoverse-n1" and "a64fx" (SVE) it is right.
PROCESSOR = "cortex-a72"

SCORE_TOLERANCE = 1e-12
FIT_TOLERANCE = 1e-9
SAME, DIFFERENT, NOT_POSSIBLE = 0, 1, 77


class NotPossibleError(Exception):
    """This machine cannot run the check; the message says what it lacks."""


def run(command: list[str | Path], **options: Any) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        words = " ".join(map(str, command))
        raise RuntimeError(f"{words} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def emulator() -> str:
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        found = shutil.which(name)
        if found:
            return found
    raise NotPossibleError("no qemu-aarch64 was found; install Debian's qemu-user-static")


def mirror() -> str:
    """Address of the Debian mirror that this machine takes its packages from."""
    for name in ("apt-get", "dpkg-deb"):
        if shutil.which(name) is None:
            raise NotPossibleError(f"there is no {name}: the arm64 Pythons are taken from Debian's packages")
    lines = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"]).splitlines()
    found = [line.split()[0] for line in lines if line.split()[1:] == ["Debian"]]
    if not found:
        raise NotPossibleError("apt-get knows no Debian mirror; run apt-get update")
    return found[0]


def arm64_python(release: str) -> tuple[Path, Path]:
    """Root of an unpacked arm64 system and the interpreter in it; downloaded once."""
    home = HOME / release
    system = home / "system"
    if not (home / "complete").exists():
        source = f"deb {mirror()} {release} main\n"
        shutil.rmtree(home, ignore_errors=True)
        archives = home / "apt" / "cache" / "archives"
        (archives / "partial").mkdir(parents=True)
        (home / "apt" / "state" / "lists" / "partial").mkdir(parents=True)
        (home / "apt" / "sources.list").write_text(source)
        # An empty record of what is installed makes apt-get fetch all that Python stands on, C library included.
        (home / "apt" / "status").touch()
        apt: list[str | Path] = ["apt-get", "-qq", "--yes", "--no-install-recommends"]
        for option in (
            f"Dir::State={home}/apt/state",
            f"Dir::State::status={home}/apt/status",
            f"Dir::Cache={home}/apt/cache",
            f"Dir::Etc::sourcelist={home}/apt/sources.list",
            "Dir::Etc::sourceparts=/dev/null",
            "APT::Architecture=arm64",
            "APT::Architectures=arm64",
            "APT::Sandbox::User=",
            "Debug::NoLocking=true",
        ):
            apt += ["-o", option]
        print(f"downloading the arm64 Python of {release}", flush=True)
        try:
            run([*apt, "update"])
            run([*apt, "--download-only", "install", "python3", "libstdc++6"])
        except RuntimeError as error:
            raise NotPossibleError(f"Debian's arm64 packages cannot be had: {error}") from error
        for package in sorted(archives.glob("*.deb")):
            run(["dpkg-deb", "--extract", package, system])
        (home / "complete").touch()
    (python,) = (system / "usr" / "bin").glob("python3.[0-9]*[0-9]")
    return system, python


def install(wheel: Path | None, place: Path, version: str, libraries: list[str]) -> None:
    """Put libraries of aarch64, or one wheel, into a directory to import from."""
    command: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--target", place, "--upgrade"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", version]
    for platform in ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64"):
        command += ["--platform", platform]
    run([*command, "--no-deps", "--no-index", wheel] if wheel else [*command, *libraries])


def native_numbers(wheels: Path, fit: bool) -> dict[str, Any]:
    """What the x86-64 wheel for this Python computes, in an environment of its own."""
    place = HOME / "native"
    python = place / "bin" / "python"
    run([sys.executable, "-m", "venv", "--clear", place])
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "numpy", *(["scipy"] if fit else [])])
    run([*pip, "--no-deps", "--no-index", "--find-links", wheels, "cem-failure-modes"])
    return numbers([python], fit, environment={})


def numbers(interpreter: list[str | Path], fit: bool, environment: dict[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [*interpreter, COMPUTED, MODEL, *(["--fit"] if fit else [])]
    with tempfile.TemporaryDirectory() as elsewhere:
        document: dict[str, Any] = json.loads(run(command, env=kept | environment, cwd=elsewhere))
    return document


def largest_difference(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> float:
    """Of all numbers, relative to the largest of their kind; infinite where one is missing on one side."""
    largest = 0.0
    for name, values in expected.items():
        others = found.get(name, [])
        if [a is None for a in others] != [b is None for b in values]:
            return float("inf")
        size = max(abs(b) for b in values if b is not None)
        for a, b in zip(others, values, strict=True):
            if a is not None:
                difference = abs(a - b) / size
                largest = max(largest, difference if difference == difference else float("inf"))
    return largest


def check(wheels: Path, fit: bool) -> int:
    qemu = emulator()
    if not any(wheels.glob("*aarch64.whl")):
        raise NotPossibleError(f"{wheels} has no aarch64 wheel; build it with wheels/build.py")
    if not any(wheels.glob("*x86_64.whl")):
        raise NotPossibleError(f"{wheels} has no x86-64 wheel to compare with; build it with wheels/build.py")
    expected = native_numbers(wheels, fit)
    worst, tried = SAME, set()
    for release in RELEASES:
        system, python = arm64_python(release)
        version = python.name.removeprefix("python")
        tag = "cp" + version.replace(".", "")
        fitting = (f"-{tag}-{tag}-", "-abi3-")
        libraries = HOME / f"libraries-{version}"
        if not (libraries / "scipy").is_dir():
            install(None, libraries, version, ["numpy", "scipy"])
        # Debian's merged /usr: the loader is named below /lib, which is a link to be made in an unpacked system.
        if not (system / "lib").exists():
            (system / "lib").symlink_to("usr/lib")
        for wheel in sorted(wheels.glob("*aarch64.whl")):
            if any(part in wheel.name for part in fitting):
                tried.add(wheel.name)
                interpreter = [qemu, "-cpu", PROCESSOR, "-L", system, python, "-s", "-S"]
                same = compare(wheel, interpreter, version, libraries, fit, expected)
                worst = worst if same else DIFFERENT
    for wheel in sorted(wheels.glob("*aarch64.whl")):
        if wheel.name not in tried:
            print(f"{wheel.name}: not run, for none of {', '.join(RELEASES)} has its Python", flush=True)
    return worst


def compare(
    wheel: Path, interpreter: list[str | Path], version: str, libraries: Path, fit: bool, expected: dict[str, Any]
) -> bool:
    """Whether a wheel computes the same under emulation; prints by how much it differs."""
    place = HOME / "wheel"
    shutil.rmtree(place, ignore_errors=True)
    install(wheel, place, version, [])
    # -E would drop PYTHONPATH; -S and -s keep anything of Debian's or of the user's out.
    paths = {"PYTHONPATH": f"{place}{os.pathsep}{libraries}", "PYTHONDONTWRITEBYTECODE": "1"}
    found = numbers(interpreter, fit, paths)
    if found["machine"] != "aarch64" or not found["place"].startswith(str(place)):
        raise RuntimeError(f"{found['place']} ran on {found['machine']}, not the wheel on aarch64")
    score = largest_difference(found["scores"], expected["scores"])
    same = score <= SCORE_TOLERANCE and not found["scipy"]
    line = f"{wheel.name}: Python {found['python']}, NumPy {found['numpy']}; scores differ by {score:.1e}"
    if fit:
        fitted = largest_difference(found["fit"], expected["fit"])
        same = same and fitted <= FIT_TOLERANCE
        line += f", a fit by {fitted:.1e}"
    print(line if same else f"{line}: NOT THE SAME", flush=True)
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheels", nargs="?", type=Path, default=ROOT / "wheels", help="directory (default: wheels/)")
    parser.add_argument("--no-fit", action="store_true", help="score only")
    options = parser.parse_args()
    try:
        return check(options.wheels.resolve(), not options.no_fit)
    except NotPossibleError as error:
        print(f"emulate.py: not possible here: {error}", file=sys.stderr)
        return NOT_POSSIBLE
    except RuntimeError as error:
        print(f"emulate.py: {error}", file=sys.stderr)
        return DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
