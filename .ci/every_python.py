"""Try the checked sources' wheels under every CPython of this machine, with the newest and the oldest libraries.

``python3 .ci/every_python.py build --output DIR`` builds the wheels that ``try`` needs (``--own``: each Python's own,
and the abi3 one beside them; else this Python's own and the abi3 one for the others), then
``python3 .ci/every_python.py try --wheels DIR`` makes a fresh environment for each Python, installs the wheel and runs
tests/wheel/smoke.py there: every compiled module, the demo, scores of a model file, streamed and in batch.

Interpreters: this one, pyenv's, those on PATH; one for each version from the oldest that pyproject.toml allows. One
without a NumPy wheel, and a free-threaded one, is named and left out. Standard library only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTED = ROOT / "wheels" / "TESTED.md"
LIBRARIES = ("numpy", "scipy")  # binary only: nobody waits for SciPy to compile
WHEEL_KINDS = ("own", "abi3")
EXAMPLE_NEEDS = ["cython", "setuptools", "pytest", "hypothesis"]

# Has to run under any Python, also one too old to be tried.
PROBE = """
import json, os, platform, sys, sysconfig
try:
    import ensurepip, venv
    venvs = True
except ImportError:
    venvs = False
print(json.dumps(dict(
    implementation=platform.python_implementation(), full=platform.python_version(), minor=list(sys.version_info[:2]),
    free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")), venvs=venvs,
    headers=os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))))
"""


@dataclass(frozen=True)
class Python:
    path: Path
    full: str  # 3.12.1
    minor: tuple[int, int]
    free_threaded: bool
    venvs: bool
    headers: bool  # those that have none can be tried, and build nothing

    @property
    def tag(self) -> str:
        return "cp{}{}{}".format(*self.minor, "t" if self.free_threaded else "")


@dataclass(frozen=True)
class Passed:
    """One row of TESTED.md."""

    python: str
    wheel: str
    libraries: str
    numpy: str
    scipy: str
    cem: str
    date: str

    @property
    def key(self) -> tuple[tuple[int, ...], str, str]:
        return version_key(self.python)[:2], self.wheel, self.libraries


HEADINGS = [field.name for field in fields(Passed)]
INTRODUCTION = """# What the wheels were tried with

Under each Python, in a fresh environment: every compiled module imports, `cem demo` finds the demo fleet's modes, and a
loaded model file scores, streamed and in batch. `wheel` is the kind that was installed, `libraries` whether NumPy and
SciPy were the newest or the oldest that there are wheels of for that Python, within what cem allows.

`.ci/full --record` writes this file; `.ci/run` prints it beside what it finds.
"""


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def version_key(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def run(command: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]


# ---- interpreters ----------------------------------------------------------------------------------------------------


def candidates() -> Iterator[Path]:
    """This interpreter, pyenv's, those on PATH; newer ones of a version first."""
    yield Path(sys._base_executable)  # type: ignore[attr-defined]  # of a virtual environment: what it was made from
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    versions = sorted(pyenv.glob("*/bin/python3"), key=lambda path: version_key(path.parts[-3]), reverse=True)
    yield from versions
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        for path in sorted(Path(directory or ".").glob("python3*")):
            if re.fullmatch(r"python3(\.\d+t?)?", path.name):
                yield path


def probe(path: Path) -> Python | None:
    """What a CPython says of itself; None where it is another one, or does not run (pyenv's inactive shims)."""
    try:
        done = run([path, "-c", PROBE], timeout=60)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if found.pop("implementation") != "CPython":
        return None
    return Python(path=path, **(found | {"minor": tuple(found["minor"])}))


def interpreters() -> tuple[list[Python], list[str]]:
    """One CPython for each version, oldest first, and what was left out and why."""
    oldest = version_key(project()["requires-python"])
    chosen: dict[str, Python] = {}
    left_out: dict[str, str] = {}
    seen: set[Path] = set()
    for path in candidates():
        real = path.resolve()
        # pyenv's shims are one script: what it runs depends on the name it is called by.
        if real in seen and path.name == real.name:
            continue
        seen.add(real)
        python = probe(path)
        if python is None or python.minor < oldest or python.tag in chosen:
            continue
        if python.free_threaded:
            left_out[python.tag] = f"Python {python.full} ({python.path}): free-threaded, no wheel is built for it"
        elif not python.venvs:
            left_out[python.tag] = f"Python {python.full} ({python.path}): it has no ensurepip, so no environments"
        else:
            chosen[python.tag] = python
    reasons = [reason for tag, reason in left_out.items() if tag not in chosen]
    return sorted(chosen.values(), key=lambda python: python.minor), reasons


# ---- wheels ----------------------------------------------------------------------------------------------------------


def build(output: Path, own: bool) -> None:
    """The wheels to try, as for a release."""
    script = ROOT / "wheels" / "build.py"
    known = set(run([sys.executable, script, "--list"], check=True).stdout.split())
    pythons, _ = interpreters()
    command = [sys.executable, script, "--output", output]
    for target in targets(pythons, own, known):
        command += ["--only", target]
    for python in pythons:
        command += ["--python", python.path] if python.headers else []
    subprocess.run([str(word) for word in command], check=True)


def targets(pythons: Sequence[Python], own: bool, known: set[str]) -> list[str]:
    """Names of the wheels to build, of those that wheels/build.py can build."""
    machine = platform.machine()
    abi3 = f"abi3-{machine}"
    owns = {python.tag: f"{python.tag}-{machine}" for python in pythons if python.headers}
    running = owns.get("cp{}{}".format(*sys.version_info[:2]), abi3)
    # Of the oldest Python's limited API, which that Python has to compile.
    abi3_builds = any(python.headers and python.minor == (3, 11) for python in pythons)
    chosen = {running} if abi3_builds and not own else set(owns.values())
    chosen &= known
    if abi3_builds and (own or len(pythons) > 1 or not chosen):
        chosen.add(abi3)
    return sorted(chosen)


def wheel_for(python: Python, kind: str, wheels: Path) -> Path | None:
    """The wheel of that kind for a Python, None where there is none."""
    tags = f"{python.tag}-{python.tag}" if kind == "own" else "cp311-abi3"
    found = sorted(wheels.glob(f"*-{tags}-*{platform.machine()}.whl"))
    return found[-1] if found else None


# ---- one environment -------------------------------------------------------------------------------------------------


class Failure(Exception):
    """The message says what failed under which Python, with the output of what failed."""


class Environment:
    """A virtual environment, in which nothing of the checkout is importable."""

    def __init__(self, python: Python, home: Path) -> None:
        self.python, self.home = python, home
        self.run([python.path, "-m", "venv", home])

    def run(self, command: Sequence[str | Path], check: bool = True, cwd: Path | None = None) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # Not in the checkout, where `-m` would look first.
        done = run(command, env=clean, cwd=cwd or self.home.parent)
        if check and done.returncode:
            words = " ".join(map(str, command))
            raise Failure(f"Python {self.python.full}: {words}\n{(done.stdout + done.stderr)[-6000:]}")
        return done.stdout if done.returncode == 0 else ""

    def inside(self, *arguments: str | Path, check: bool = True, cwd: Path | None = None) -> str:
        return self.run([self.home / "bin" / "python", *arguments], check=check, cwd=cwd)

    def pip(self, *arguments: str | Path, check: bool = True) -> str:
        binary = ["--only-binary", ",".join(LIBRARIES)]
        return self.inside("-m", "pip", "install", "--quiet", *binary, *arguments, check=check)

    def has_wheel(self, requirement: str) -> bool:
        words = ["--dry-run", "--no-deps", "--ignore-installed", "--report", "-", "--only-binary", ":all:"]
        return bool(self.pip(*words, requirement, check=False))

    def oldest(self, library: str) -> str:
        """The oldest allowed version that has a wheel for this Python."""
        (bound,) = (text for text in project()["dependencies"] if re.match(rf"{library}\b", text))
        listed = self.inside("-m", "pip", "index", "versions", library)
        (line,) = re.findall(r"^Available versions: (.*)$", listed, re.MULTILINE)
        allowed = [text for text in line.split(", ") if version_key(text) >= version_key(bound)]
        for text in sorted(allowed, key=version_key):
            if self.has_wheel(f"{library}=={text}"):
                return text
        raise Failure(f"Python {self.python.full}: no version of {library} from {bound} on has a wheel")

    def version(self, name: str) -> str:
        return self.inside("-c", f"from importlib.metadata import version; print(version('{name}'))").strip()


def no_numpy(python: Python) -> str:
    return f"Python {python.full} ({python.path}): pip has no NumPy wheel for it"


def example(environment: Environment) -> None:
    """Other compiled code, built against the installed wheel and run; in a copy that has the tests alone."""
    tree = environment.home.parent / "tree"
    shutil.copytree(ROOT / "tests", tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    environment.pip(*EXAMPLE_NEEDS)
    environment.inside("-m", "pytest", "tests/scoring/test_cimport_example.py", cwd=tree)


def try_wheel(python: Python, wheel: Path, kind: str, libraries: str, with_example: bool) -> Passed | None:
    """Install and run; None where there is no NumPy wheel for this Python."""
    with tempfile.TemporaryDirectory(prefix="cem-python-") as scratch:
        environment = Environment(python, Path(scratch) / "environment")
        if not environment.has_wheel("numpy"):
            return None
        pins = [f"{name}=={environment.oldest(name)}" for name in LIBRARIES] if libraries == "oldest" else LIBRARIES
        environment.pip(wheel, *pins)
        environment.inside(ROOT / "tests" / "wheel" / "smoke.py")
        if with_example:
            example(environment)
        versions = [environment.version(name) for name in (*LIBRARIES, project()["name"])]
    return Passed(python.full, kind, libraries, *versions, datetime.date.today().isoformat())


# ---- the record ------------------------------------------------------------------------------------------------------


def read_record(path: Path) -> list[Passed]:
    """The rows of the table; none where there is no file."""
    if not path.is_file():
        return []
    rows = [line.strip("| ").split(" | ") for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [Passed(*(cell.strip() for cell in row)) for row in rows[2:]]


def write_record(path: Path, passed: Sequence[Passed]) -> None:
    """The new rows in place of those of the same Python, kind of wheel and libraries; rows of other Pythons stay."""
    rows = {row.key: row for row in (*read_record(path), *passed)}
    table = [HEADINGS, ["---"] * len(HEADINGS), *(astuple(rows[key]) for key in sorted(rows))]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    path.write_text("\n".join([INTRODUCTION, *lines, ""]), encoding="utf-8")


def summary(row: Passed, recorded: Sequence[Passed]) -> str:
    """One line: what passed now, and what is committed as having passed."""
    now = f"Python {row.python}, {row.wheel} wheel: NumPy {row.numpy}, SciPy {row.scipy} ({row.libraries}) pass"
    before = [old for old in recorded if old.key == row.key]
    if not before:
        return f"{now}; not recorded in {TESTED.name}"
    old = before[0]
    return f"{now}; recorded: Python {old.python}, NumPy {old.numpy}, SciPy {old.scipy}, cem {old.cem}, {old.date}"


def attempt(options: argparse.Namespace) -> int:
    """Every combination asked for; all are tried before a failure ends the script."""
    pythons, left_out = interpreters()
    recorded = read_record(TESTED)
    passed: list[Passed] = []
    failures: list[str] = []
    for python in pythons:
        present = {kind: wheel for kind in WHEEL_KINDS if (wheel := wheel_for(python, kind, options.wheels.resolve()))}
        # As pip chooses: its own wheel before the abi3 one.
        kinds = options.kind or list(present)[:1]
        if not present:
            failures.append(f"Python {python.full}: {options.wheels} has no wheel for it")
        for kind in (kind for kind in kinds if kind in present):
            for libraries in options.libraries or ["newest"]:
                try:
                    row = try_wheel(python, present[kind], kind, libraries, options.example)
                except Failure as failure:
                    failures.append(str(failure))
                    print(f"Python {python.full}, {kind} wheel, {libraries} libraries: FAILED", flush=True)
                    continue
                if row is None:
                    left_out.append(no_numpy(python))
                    break
                passed.append(row)
                print(summary(row, recorded), flush=True)
    for reason in dict.fromkeys(left_out):
        print(f"left out: {reason}")
    if not passed and not failures:
        failures.append("no Python of this machine was tried: see what was left out")
    for failure in failures:
        print(f"\nevery_python.py: {failure}", file=sys.stderr)
    if options.record and not failures:
        write_record(options.record, passed)
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the wheels of these sources under every CPython of this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the interpreters to try, one a line: version and path")
    making = commands.add_parser("build", help="build the wheels to try")
    making.add_argument("--output", type=Path, required=True, help="where the wheels go")
    making.add_argument("--own", action="store_true", help="each Python's own wheel too, not this one's alone")
    trying = commands.add_parser("try", help="install and run them")
    trying.add_argument("--wheels", type=Path, required=True, help="directory of the wheels")
    trying.add_argument("--kind", action="append", choices=WHEEL_KINDS, help="default: the one that pip would take")
    trying.add_argument("--libraries", action="append", choices=("newest", "oldest"), help="default: newest")
    trying.add_argument("--example", action="store_true", help="build and run the C-interface example too")
    trying.add_argument("--record", type=Path, help="where all pass: put the versions into this file")
    options = parser.parse_args()
    if options.command == "build":
        build(options.output, options.own)
        return 0
    if options.command == "list":
        pythons, left_out = interpreters()
        for python in pythons:
            with tempfile.TemporaryDirectory(prefix="cem-python-") as scratch:
                if Environment(python, Path(scratch) / "environment").has_wheel("numpy"):
                    print(python.full, python.path)
                else:
                    left_out.append(no_numpy(python))
        print(*(f"left out: {reason}" for reason in left_out), sep="\n", file=sys.stderr)
        return 0
    return attempt(options)


if __name__ == "__main__":
    sys.exit(main())
