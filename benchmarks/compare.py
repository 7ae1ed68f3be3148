"""The figures of `twelve.py`: the sources here against another commit, interpreter or wheel, in one run.

    python benchmarks/compare.py [COMMIT | PYTHON | WHEEL] [--here PYTHON | WHEEL | COMMIT] [--only TEXT]

"Here" is by default the cem that this Python imports: the working tree, built in place. The other is by default the
last commit (HEAD where the sources here differ from it, else the one before), checked out and built under
build/compare, where it stays for the next run; or what another interpreter has installed; or a wheel. Times are taken
in turn. A figure more than 3 % worse is marked, and then the exit status is 1.

Releases' wheels are compiled by another compiler than what is built in place, which alone makes some per cent: compare
wheels with wheels (`python wheels/build.py --only cp311-x86_64 --output FOLDER` makes one).
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import twelve

ROOT = harness.HERE.parent
BUILDS = ROOT / "build" / "compare"
LIMIT = 1.03


def git(*command: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"compare.py: git {' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def last_commit() -> str:
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "setup.py")
    return "HEAD" if changed else "HEAD~1"


def built(commit: str) -> twelve.Side:
    """The package of a commit, compiled; made at need."""
    name = git("rev-parse", "--short=12", f"{commit}^{{commit}}")
    tree = BUILDS / name
    if not (tree / "built").exists():
        print(f"building {name} in {tree.relative_to(ROOT)}", flush=True)
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        with tempfile.TemporaryFile() as archive:
            subprocess.run(["git", "-C", str(ROOT), "archive", name, "src", "setup.py", "pyproject.toml", "README.md",
                            "LICENSE"], stdout=archive, check=True)  # fmt: skip
            archive.seek(0)
            subprocess.run(["tar", "-x", "-C", str(tree)], stdin=archive, check=True)
        done = subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tree,
                              capture_output=True, text=True)  # fmt: skip
        if done.returncode:
            raise SystemExit(f"compare.py: {name} cannot be built:\n{done.stderr[-4000:]}")
        (tree / "built").touch()
    return twelve.Side(name, sys.executable, str(tree / "src"))


def other(named: str | None, place: Path) -> twelve.Side:
    """What is compared with: a wheel, an interpreter, or a commit."""
    path = Path(named or "")
    if named and named.endswith(".whl"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(place)]
        subprocess.run([*pip, named], check=True)
        return twelve.Side(path.name, sys.executable, str(place))
    if named and path.is_file():
        return twelve.Side(named, str(path.absolute()))
    return built(named or last_commit())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", nargs="?", metavar="COMMIT | PYTHON | WHEEL", help="default: the last commit")
    parser.add_argument("--only", default="", metavar="TEXT", help="figures whose names contain it")
    parser.add_argument("--here", metavar="PYTHON | WHEEL | COMMIT", help="default: what this Python imports")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        mine = other(options.here, Path(place) / "here") if options.here else twelve.here()
        sides = [mine, other(options.other, Path(place) / "there")]
        rows = twelve.measured(sides, options.only)
    width = max(len(row["figure"]) for row in rows)
    print(f"{'':<{width}}{'here':>16}{'there':>16}  ratio   there: {sides[1].name}")
    worse = 0
    for row in rows:
        mine, theirs = row["values"]
        over = row["ratio"] > LIMIT
        worse += over
        cells = "".join(f"{twelve.shown(value, row['unit']):>16}" for value in (mine, theirs))
        print(f"{row['figure']:<{width}}{cells}  {row['ratio']:.3f}{'   WORSE' * over}", flush=True)
    print(f"{worse} of {len(rows)} figures are more than {LIMIT - 1:.0%} worse")
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main())
