"""What an installed wheel has to do before anything else is asked of it; run by .ci/run away from the sources.

Not collected by pytest: it tests the `cem` that the running interpreter has installed.
"""

import importlib
import json
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import cem


def main() -> None:
    package = Path(cem.__file__).parent
    if "site-packages" not in package.parts:
        raise SystemExit(f"cem is imported from {package}, not from an installed wheel")
    if version("cem-failure-modes") != cem.__version__:
        raise SystemExit(f"metadata says {version('cem-failure-modes')}, the package {cem.__version__}")
    modules = sorted(path.name.split(".")[0] for path in package.glob("*.so"))
    for module in modules:
        importlib.import_module(f"cem.{module}")
    for name in cem.__all__:
        getattr(cem, name)
    if distribution("cem-failure-modes").read_text("provenance.json") is None:
        raise SystemExit("the wheel does not say what it was made from")
    done = subprocess.run([sys.executable, "-m", "cem", "demo", "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"cem demo failed: {done.stderr}")
    document = json.loads(done.stdout)
    agreement = document["truth"]["adjusted_rand_index"]
    if not agreement >= 0.95:
        raise SystemExit(f"the demo's modes agree with the truth to {agreement:.3f} only")
    print(f"cem {cem.__version__}: {', '.join(modules)} import; cem demo agrees with the truth to {agreement:.3f}")


if __name__ == "__main__":
    main()
