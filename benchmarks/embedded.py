"""What one reading costs on a Cortex-M4F in the float header: instructions, stack, bytes of a unit, code and constants.

The demo fleet's model of 8 channels and 3 modes; gcc -O2. QEMU's machine mps2-an386 counts with -icount shift=0. The
tools are those on the PATH, or those of Debian packages unpacked into the directory that ARM_TOOLS names. Where there
are none, the benchmark says so and writes nothing.
"""

from __future__ import annotations

from common import harness

import os  # isort: skip
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cem

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "embedded"
CORE = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
TARGET_INSTRUCTIONS, TARGET_CODE, TARGET_UNIT, TARGET_STACK = 6_000, 9_800, 1_120, 200

# A program of the header alone: what it adds to another one's code.
ALONE = """
#include "fleet.h"
static fleet_unit unit;
static fleet_scalar x[FLEET_N_CHANNELS], p[FLEET_N_MODES];
extern volatile double now;
volatile double now;
void board_reset(void);
void board_reset(void)
{
    fleet_init(&unit);
    for (;;) {
        if (fleet_update(&unit, now, x) == FLEET_OK) {
            fleet_probabilities(&unit, p);
        }
    }
}
"""


def tools() -> tuple[dict[str, str], str, str]:
    """Environment, where newlib is, and the emulator's call."""
    environment, home = dict(os.environ), os.environ.get("ARM_TOOLS")
    if home is None:
        return environment, "", "qemu-system-arm"
    root = Path(home).resolve()
    environment["PATH"] = f"{root / 'usr' / 'bin'}{os.pathsep}{environment['PATH']}"
    libraries = [root / "usr" / "lib" / "x86_64-linux-gnu", root / "lib" / "x86_64-linux-gnu"]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))
    newlib = root / "usr" / "lib" / "arm-none-eabi" / "newlib" / "thumb" / "v7e-m+fp" / "hard"
    flags = f"-isystem {root / 'usr' / 'include' / 'newlib'} -L{newlib}"
    return environment, flags, f"qemu-system-arm -L {root / 'usr' / 'share' / 'qemu'}"


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def measure(standard: str, carry: bool, folder: Path) -> dict[str, Any]:
    """Figures for one dialect of C, with states that keep what they round away or without.

    With GNU's dialects the compiler fuses multiplications and additions.
    """
    environment, newlib, qemu = tools()
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    copy = folder / f"{standard}-{carry}"
    define = "-DFLEET_CARRY" if carry else ""
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("build"))
    options = [
        f"PYTHON={sys.executable}",
        f"STANDARD=-std={standard}",
        f"DEFINES={define}",
        f"NEWLIB={newlib}",
        f"QEMU={qemu}",
    ]
    printed = run(["make", "--silent", "run", *options], copy, environment)
    found = dict(re.findall(r"^(.*): (\d+) (?:instructions|bytes)$", printed, re.MULTILINE))
    (copy / "alone.c").write_text(ALONE, encoding="ascii")
    link = [
        "-nostdlib",
        "-e",
        "board_reset",
        "-Wl,--gc-sections,--start-group",
        "-lm",
        "-lc",
        "-lgcc",
        "-Wl,--end-group",
    ]
    flags = ["-O2", f"-std={standard}", "-ffunction-sections", "-fdata-sections", "-Ibuild", *define.split()]
    run(["arm-none-eabi-gcc", *CORE, *flags, "alone.c", "-o", "alone.elf", *newlib.split(), *link], copy, environment)
    size = run(["arm-none-eabi-size", "alone.elf"], copy, environment).splitlines()[1].split()
    update, score = int(found["an update"]), int(found["the probabilities"])
    return {
        "dialect": standard,
        "carry": carry,
        "instructions_of_update": update,
        "instructions_of_probabilities": score,
        "instructions": update + score,
        "target_instructions": TARGET_INSTRUCTIONS,
        "bytes_of_code_and_constants": int(size[0]),
        "target_code": TARGET_CODE,
        "bytes_per_unit": int(found["a unit"]),
        "target_unit": TARGET_UNIT,
        "bytes_of_stack": max(int(found["stack of an update"]), int(found["stack of the probabilities"])),
        "target_stack": TARGET_STACK,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    environment, _, _ = tools()
    for name in ("arm-none-eabi-gcc", "qemu-system-arm", "make"):
        if shutil.which(name, path=environment["PATH"]) is None:
            print(f"{name} is not installed: nothing was counted on a Cortex-M4F")
            return
    load = harness.load_average()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(standard, carry, Path(folder)) for carry in (False, True) for standard in ("c99", "gnu99")]
    version = run(["arm-none-eabi-gcc", "-dumpfullversion"], ROOT, environment).strip()
    emulator = run(["qemu-system-arm", "--version"], ROOT, environment).splitlines()[0]
    harness.write_results(
        __file__, options, rows, load_before=load, compiler=f"gcc {version} -O2", emulator=emulator, cem=cem.__version__
    )


if __name__ == "__main__":
    main()
