"""Build the site.

    python docs/build.py                # docs/_build/html; the examples are shown, not run
    python docs/build.py --gallery      # the examples run and make their pictures
    python docs/build.py --out FOLDER   # the site there

A warning is an error. Nothing is fetched. Needs the extra `docs`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from site_parts.command_line import command_line_page
from site_parts.staging import stage

DOCS = Path(__file__).resolve().parent


def main() -> int:
    """Stage the pages and run Sphinx; its exit status."""
    parser = argparse.ArgumentParser(description="Build the site of cem.")
    parser.add_argument("--gallery", action="store_true", help="run the examples, which makes their pictures")
    parser.add_argument("--out", type=Path, default=DOCS / "_build" / "html", metavar="FOLDER", help="where to put it")
    options = parser.parse_args()
    # Pages with pictures and pages without are not mixed.
    kind = "gallery" if options.gallery else "plain"
    source = DOCS / "_build" / kind / "source"
    source.mkdir(parents=True, exist_ok=True)
    stage(source, made={"command-line.md": command_line_page()})
    environment = os.environ | {"CEM_DOCS_GALLERY": "1" if options.gallery else "", "MPLBACKEND": "agg"}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto", "-b", "html",
               "-c", str(DOCS), "-d", str(source.parent / "doctrees"), str(source), str(options.out)]  # fmt: skip
    done = subprocess.run(command, env=environment)
    if done.returncode == 0:
        print(options.out / "index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
