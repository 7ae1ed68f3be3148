"""Build this release's wheels, without containers: ``python wheels/build.py --help``.

The C compiler is zig, from the package index, aimed at glibc 2.17 of either architecture; so neither the machine's
compiler, nor its libraries, nor its architecture decides what comes out. Everything that does is pinned in
``requirements-build.txt`` and ``requirements-tools.txt`` and hashed, with the sources, into each wheel.

Needs: an interpreter with headers for each version of Python to build for, and the package index. Standard library
only; all else goes into environments below ``build/wheels``, which may be deleted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / "wheels"
CACHE = ROOT / "build" / "wheels"

VERSIONS = ("3.11", "3.12", "3.13")
ABI3_VERSION = "3.11"  # the oldest Python of the limited-API wheel
ARCHITECTURES = ("x86_64", "aarch64")
# No wheel is shipped that has not been run. emulate.py runs those of aarch64 with Debian's Pythons, and no release of
# Debian has 3.12: there pip takes the abi3 wheel.
NOT_RUN = {("3.12", "aarch64")}
GLIBC = (2, 17)
SOURCE_DATE_EPOCH = (
    "1767225600"  # 2026-01-01: the date of every file inside; the day of the build would change the hash
)

# Sorted out by kind, so that leftovers of a local build never reach a wheel nor its hash.
SOURCE_KINDS = {".py", ".pyx", ".pxd", ".pxi", ".pyi", ".h", ".typed"}
PROJECT_FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
BUILD_FILES = ("build.py", "audit.py", "requirements-build.txt", "requirements-tools.txt")
PROVENANCE = "provenance.json"
TRANSLATION = Path("build") / "cython"  # where setup.py puts Cython's C


class BuildError(Exception):
    """A wheel cannot be built, or is not what it has to be; the message says why."""


@dataclass(frozen=True)
class Target:
    """One wheel: for one version of Python or (``abi3``) for that version and all later ones."""

    version: str
    architecture: str
    abi3: bool = False

    @property
    def python(self) -> str:
        return "cp" + self.version.replace(".", "")

    @property
    def name(self) -> str:
        """What ``--only`` takes: cp312-x86_64, abi3-aarch64."""
        return f"{'abi3' if self.abi3 else self.python}-{self.architecture}"

    @property
    def extension_suffix(self) -> str:
        digits = self.version.replace(".", "")
        return f".cpython-{digits}-{self.architecture}-linux-gnu.so"

    @property
    def compiler_target(self) -> str:
        return f"{self.architecture}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"

    @property
    def platform(self) -> str:
        return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{self.architecture}"


def all_targets() -> list[Target]:
    """Every wheel of a release."""
    targets = []
    for architecture in ARCHITECTURES:
        targets += [Target(version, architecture) for version in VERSIONS if (version, architecture) not in NOT_RUN]
        targets.append(Target(ABI3_VERSION, architecture, abi3=True))
    return targets


# ---- sources and their hash ------------------------------------------------------------------------------------------


def source_files() -> list[Path]:
    """Files that a wheel is made from, relative to the root and sorted: just these are copied, built and hashed."""
    found = [Path(name) for name in PROJECT_FILES]
    for path in sorted((ROOT / "src").rglob("*")):
        relative = path.relative_to(ROOT)
        if not path.is_file() or any(part == "__pycache__" or part.endswith(".egg-info") for part in relative.parts):
            continue
        if path.suffix in SOURCE_KINDS or "data" in relative.parts[2:-1]:
            found.append(relative)
    missing = [str(path) for path in found if not (ROOT / path).is_file()]
    if missing:
        raise BuildError(f"the checkout lacks {', '.join(missing)}")
    return sorted(found)


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files given relative to the root."""
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        total.update(f"{content}  {path.as_posix()}\n".encode())
    return total.hexdigest()


def provenance() -> dict[str, object]:
    """What the present sources and pins would be recorded as."""
    return {
        "sources_sha256": digest(source_files()),
        "build_sha256": digest(Path("wheels") / name for name in BUILD_FILES),
        "compiler_target": f"linux-gnu.{GLIBC[0]}.{GLIBC[1]}",
        "source_date_epoch": int(SOURCE_DATE_EPOCH),
    }


# ---- interpreters and environments -----------------------------------------------------------------------------------

PROBE = """
import ensurepip, os, platform, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
print("%d.%d" % sys.version_info[:2], platform.python_implementation())
print(os.path.isfile(header), platform.python_version())
"""


def probe(python: Path) -> tuple[str, str] | None:
    """(version such as 3.11, full version) of a CPython that can compile extensions, None if it is not one."""
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode or len(words) != 4 or words[1] != "CPython" or words[2] != "True":
        return None
    return words[0], words[3]


def interpreters(given: Sequence[Path]) -> dict[str, tuple[Path, str]]:
    """Path and full version by version: those given, this one, pyenv's, then those on PATH; the first one wins."""
    candidates = [*given, Path(sys.executable)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python3"), reverse=True)
        on_path = shutil.which(f"python{version}")
        if on_path:
            candidates.append(Path(on_path))
    found: dict[str, tuple[Path, str]] = {}
    for candidate in candidates:
        known = probe(candidate)
        if known is None:
            if candidate in given:
                raise BuildError(f"{candidate} is not a CPython with its headers and ensurepip")
            continue
        found.setdefault(known[0], (candidate, known[1]))
    return found


def environment(name: str, python: Path, full_version: str, requirements: str) -> Path:
    """Interpreter of an environment below build/wheels that holds just the pinned requirements; made at need."""
    pins = (WHEELS / requirements).read_text()
    stamp_text = f"{python}\n{full_version}\n{pins}"
    home = CACHE / name
    stamp = home / "stamp.txt"
    executable = home / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == stamp_text and executable.exists():
        return executable
    print(f"making the environment {name} (Python {full_version})", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    run([python, "-m", "venv", home])
    run([executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r", WHEELS / requirements])
    stamp.write_text(stamp_text)
    return executable


def run(command: Sequence[str | Path], **options: object) -> None:
    """A command that has to succeed; its output is shown where it does not."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )  # type: ignore[call-overload]
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-8000:]}")


# ---- one wheel -------------------------------------------------------------------------------------------------------


def compiler_environment(target: Target, tools: Path) -> dict[str, str]:
    """Variables that make setuptools compile for the target and for nothing of this machine.

    CFLAGS and LDSHARED replace what the interpreter was built with, which may hold paths and a RUNPATH.
    """
    compiler = f"{tools} -m ziglang cc -target {target.compiler_target}"
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CPPFLAGS", "CXXFLAGS", "LDFLAGS", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "PYTHONPATH")
    }
    variables |= {
        "CC": compiler,
        "CFLAGS": "-g0 -fwrapv -fno-strict-aliasing -Wno-unused-function -fno-ident",
        "LDSHARED": f"{compiler} -shared -Wl,--strip-all",
        "SETUPTOOLS_EXT_SUFFIX": target.extension_suffix,
        "_PYTHON_HOST_PLATFORM": f"linux-{target.architecture}",
        "CEM_ABI3": "1" if target.abi3 else "0",
        "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH,
        "PYTHONHASHSEED": "0",
        "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    return variables


def copy_sources(tree: Path) -> None:
    for path in source_files():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tree / path)


def translate(builder: Path, tree: Path) -> Path:
    """Cython's C of all modules, in a copy of the sources made for it; returns its directory.

    It is the same text for every version of Python, for the limited API and for every architecture: macros tell them
    apart when it is compiled. So one translation serves all wheels of a run.
    """
    copy_sources(tree)
    # setup.py translates before it answers anything.
    run([builder, "setup.py", "--quiet", "--name"], env=os.environ | {"PYTHONHASHSEED": "0"}, cwd=tree)
    return tree / TRANSLATION


def build_wheel(target: Target, builder: Path, full_version: str, tools: Path, output: Path, translation: Path) -> Path:
    """Build one wheel into the directory ``output`` and judge it; returns its path."""
    record = provenance() | {"python": full_version, "wheel": target.name}
    with tempfile.TemporaryDirectory(prefix="cem-wheel-") as scratch_name:
        scratch = Path(scratch_name)
        tree = scratch / "tree"
        copy_sources(tree)
        # Copied after the sources: being newer, it is not made again.
        shutil.copytree(translation, tree / TRANSLATION, copy_function=shutil.copyfile)
        variables = compiler_environment(target, tools)
        variables["ZIG_LOCAL_CACHE_DIR"] = str(scratch / "zig")
        pip = [builder, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
        run([*pip, "--wheel-dir", scratch / "raw", tree], env=variables, cwd=scratch)
        (raw,) = (scratch / "raw").glob("*.whl")
        tool_path = f"{tools.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        # auditwheel takes no other architecture's platform by name; what "auto" finds is compared by audit.py.
        plat = target.platform if target.architecture == platform.machine() else "auto"
        repair = [tools, "-m", "auditwheel", "repair", "--only-plat", "--plat", plat]
        run(
            [*repair, "--wheel-dir", scratch / "repaired", raw],
            env=os.environ | {"PATH": tool_path, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH},
        )
        (repaired,) = (scratch / "repaired").glob("*.whl")
        (scratch / PROVENANCE).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        output.mkdir(parents=True, exist_ok=True)
        final = output / repaired.name
        run(
            [tools, WHEELS / "audit.py", "finish", repaired, final, "--add", scratch / PROVENANCE],
            env=os.environ | {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH},
        )
        # Of this machine: where it was built, by which interpreter, for whom.
        places = {scratch, ROOT, builder.resolve().parent.parent, Path(sys.prefix), Path(sys.base_prefix), Path.home()}
        arguments = [word for path in sorted(places - {Path("/")}) for word in ("--forbid", str(path))]
        run(
            [tools, WHEELS / "audit.py", "check", final, "--platform", target.platform, *arguments],
            env=os.environ | {"PATH": tool_path},
        )
        return final


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(targets: Sequence[Target], given: Sequence[Path], output: Path, twice: Collection[Target]) -> list[Path]:
    """Build the targets; those in ``twice`` in two places, from the translation on, and compare."""
    found = interpreters(given)
    lacking = sorted({target.version for target in targets} - set(found))
    if lacking:
        raise BuildError(f"no CPython {', '.join(lacking)} with headers was found; name it with --python PATH")
    tool_python, tool_version = found.get(ABI3_VERSION) or next(iter(found.values()))
    tools = environment("tools", tool_python, tool_version, "requirements-tools.txt")
    built = []
    with tempfile.TemporaryDirectory(prefix="cem-translation-") as place:
        translation: Path | None = None
        for target in targets:
            python, full_version = found[target.version]
            builder = environment(target.python, python, full_version, "requirements-build.txt")
            translation = translation or translate(builder, Path(place) / "first")
            wheel = build_wheel(target, builder, full_version, tools, output, translation)
            if target in twice:
                again = translate(builder, Path(place) / f"again-{target.name}")
                second = build_wheel(target, builder, full_version, tools, Path(place) / target.name, again)
                if sha256(second) != sha256(wheel):
                    kept = output / f"{wheel.name}.second"
                    shutil.copyfile(second, kept)
                    raise BuildError(f"two builds of {wheel.name} differ; the second one is kept as {kept}")
            same = ", twice the same" if target in twice else ""
            print(f"{sha256(wheel)}  {wheel.name}  {wheel.stat().st_size / 1000:.0f} kB{same}", flush=True)
            built.append(wheel)
    return built


# ---- the committed set -----------------------------------------------------------------------------------------------


def carried_provenance(wheel: Path) -> dict[str, object]:
    """The record that a wheel carries in its .dist-info."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(f".dist-info/{PROVENANCE}"))
            record: dict[str, object] = json.loads(archive.read(name))
            return record
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BuildError(f"{wheel.name} carries no readable {PROVENANCE}: {error}") from error


def write_records(directory: Path) -> None:
    """SHA256SUMS (``sha256sum -c`` reads it) and PROVENANCE.json of the wheels in a directory."""
    wheels = sorted(directory.glob("*.whl"))
    sums = {wheel.name: sha256(wheel) for wheel in wheels}
    (directory / "SHA256SUMS").write_text("".join(f"{value}  {name}\n" for name, value in sums.items()))
    record = {wheel.name: {"sha256": sums[wheel.name]} | carried_provenance(wheel) for wheel in wheels}
    (directory / "PROVENANCE.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def verify(directory: Path) -> list[str]:
    """What is wrong with a directory of wheels: empty where all were made from the present sources and pins."""
    try:
        record = json.loads((directory / "PROVENANCE.json").read_text())
        lines = (directory / "SHA256SUMS").read_text().splitlines()
        sums = {name: value for value, name in (line.split("  ") for line in lines)}
    except (OSError, ValueError) as error:
        return [f"no readable record: {error}"]
    present = {path.name: path for path in sorted(directory.glob("*.whl"))}
    faults = [] if present else ["there is no wheel"]
    now = provenance()
    for name in sorted(set(sums) | set(record) | set(present)):
        if name not in present:
            faults.append(f"{name} is recorded and not there")
            continue
        carried = carried_provenance(present[name])
        if sums.get(name) != sha256(present[name]) or record.get(name) != {"sha256": sums.get(name)} | carried:
            faults.append(f"{name} is not the file that SHA256SUMS and PROVENANCE.json record")
        changed = sorted(key for key, value in now.items() if carried.get(key) != value)
        if changed:
            faults.append(f"{name} was made from others than the present ones: {', '.join(changed)}; build again")
    return faults


def main() -> int:
    targets = {target.name: target for target in all_targets()}
    parser = argparse.ArgumentParser(description="Build the wheels of this release without containers.")
    parser.add_argument("--only", action="append", choices=sorted(targets), help="just this wheel; may be repeated")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="just the wheels of this architecture")
    parser.add_argument("--python", action="append", type=Path, default=[], help="an interpreter to build with")
    parser.add_argument("--output", type=Path, default=WHEELS, help="where the wheels go (default: wheels/)")
    checks = parser.add_mutually_exclusive_group()
    checks.add_argument("--check", action="store_true", help="build the first wheel twice and compare the hashes")
    checks.add_argument("--check-all", action="store_true", help="build every wheel twice and compare the hashes")
    parser.add_argument("--list", action="store_true", help="name the wheels of a release and stop")
    parser.add_argument(
        "--verify", action="store_true", help="build nothing: tell whether the wheels were made from these sources"
    )
    options = parser.parse_args()
    if options.list:
        print("\n".join(targets))
        return 0
    output = options.output.resolve()
    try:
        if options.verify:
            faults = verify(output)
            print("\n".join(faults) if faults else "the wheels were made from these sources and pins")
            return 1 if faults else 0
        chosen = [
            target
            for target in targets.values()
            if (not options.only or target.name in options.only)
            and (not options.architecture or target.architecture == options.architecture)
        ]
        if not chosen:
            raise BuildError("--only and --architecture leave no wheel to build")
        with tempfile.TemporaryDirectory(prefix="cem-wheels-") as staging:
            twice = chosen if options.check_all else chosen[: int(options.check)]
            built = build(chosen, options.python, Path(staging), twice)
            # Only a whole, judged set replaces what was there.
            output.mkdir(parents=True, exist_ok=True)
            if len(chosen) == len(targets):
                for old in output.glob("*.whl"):
                    old.unlink()
            for wheel in built:
                shutil.copyfile(wheel, output / wheel.name)
        write_records(output)
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
