"""Finish a wheel so that its bytes depend on its contents alone, and judge it. Runs in the tools environment."""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from zopfli import zlib as zopfli

MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
# What every glibc Linux has; scipy's BLAS is reached through Python capsules, not through the linker.
LIBRARIES = {
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}
NOT_SHIPPED = {".c", ".cc", ".cpp", ".pyx", ".pxi", ".o", ".a", ".pyc", ".html", ".orig"}
MACHINE_PATH = re.compile(rb"/(?:root|home|tmp|work|build|Users|var/tmp)/[\w.+-]+")


def finish(source: Path, destination: Path, added: list[Path]) -> None:
    """Rewrite a wheel with sorted members, one date and one mode; ``added`` files go into its .dist-info."""
    date = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    (record_name,) = (name for name in members if name.endswith(".dist-info/RECORD"))
    info = record_name.rsplit("/", 1)[0]
    for path in added:
        members[f"{info}/{path.name}"] = path.read_bytes()
    del members[record_name]
    # .dist-info last, as the format recommends: then its metadata can be read from the end of the file.
    names = sorted(members, key=lambda name: (name.startswith(info), name))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    for name in names:
        writer.writerow([name, record_hash(members[name]), len(members[name])])
    writer.writerow([record_name, "", ""])
    members[record_name] = table.getvalue().encode()
    names.append(record_name)
    with multiprocessing.Pool() as pool:  # half of a wheel's time is this
        streams = pool.map(deflated, [members[name] for name in names], chunksize=1)
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, stream in zip(names, streams, strict=True):
            entry = zipfile.ZipInfo(name, date)
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            with archive.open(entry, "w") as member:
                member._compressor = Compressed(stream)  # type: ignore[attr-defined]  # zipfile has no way to name one
                member.write(members[name])


def deflated(content: bytes) -> bytes:
    """A Deflate stream, 4 % shorter than zlib's shortest."""
    compressed: bytes = zopfli.compress(content)
    return compressed[2:-4]  # without zlib's header and checksum


class Compressed:
    """A compressor as `zlib.compressobj` makes them, of contents whose stream is known."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream

    def compress(self, content: bytes) -> bytes:
        return b""

    def flush(self) -> bytes:
        return self._stream


def record_hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def library_faults(name: str, content: bytes, architecture: str, forbidden: list[bytes]) -> list[str]:
    """What a compiled module must not have: other machine code, a search path, foreign libraries, debug data, paths."""
    faults = []
    elf = ELFFile(io.BytesIO(content))
    if elf["e_machine"] != MACHINES[architecture]:
        faults.append(f"is machine code for {elf['e_machine']}, not {MACHINES[architecture]}")
    for section in elf.iter_sections():
        if section.name.startswith(".debug") or section.name == ".symtab":
            faults.append(f"has a section {section.name}")
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                    faults.append(f"has a {tag.entry.d_tag}")
                elif tag.entry.d_tag == "DT_NEEDED" and tag.needed not in LIBRARIES:
                    faults.append(f"needs {tag.needed}")
    stack = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_GNU_STACK"]
    if any(segment["p_flags"] & 1 for segment in stack):
        faults.append("asks for an executable stack")
    faults += [f"holds the path {path.decode()}" for path in forbidden if path in content]
    faults += [f"holds the path {match.decode()}" for match in set(MACHINE_PATH.findall(content))]
    return [f"{name} {fault}" for fault in faults]


def record_faults(archive: zipfile.ZipFile, record_name: str) -> list[str]:
    """Members that RECORD does not name, or names with another hash."""
    recorded = {row[0]: row[1] for row in csv.reader(io.StringIO(archive.read(record_name).decode()))}
    faults = [f"{name} is in RECORD and not in the wheel" for name in recorded if name not in archive.namelist()]
    for name in archive.namelist():
        if name not in recorded:
            faults.append(f"{name} is not in RECORD")
        elif name != record_name and recorded[name] != record_hash(archive.read(name)):
            faults.append(f"{name} has another hash than RECORD says")
    return faults


def content_faults(archive: zipfile.ZipFile) -> list[str]:
    """Members that do not belong, and such as are lacking: modules' stubs, the type marker, the licence."""
    names = archive.namelist()
    faults = [f"{name} does not belong into a wheel" for name in names if Path(name).suffix in NOT_SHIPPED]
    modules = sorted({name.split(".")[0] for name in names if name.endswith(".so")})
    if not modules:
        faults.append("there is no compiled module")
    wanted = ["cem/py.typed", *(f"{module}.pyi" for module in modules)]
    faults += [f"{name} is lacking" for name in wanted if name not in names]
    for suffix in ("METADATA", "WHEEL", "provenance.json", "entry_points.txt", "LICENSE"):
        if not any(".dist-info/" in name and name.endswith(f"/{suffix}") for name in names):
            faults.append(f".dist-info/{suffix} is lacking")
    if len({entry.date_time for entry in archive.infolist()}) != 1:
        faults.append("members have several dates")
    return faults


def check(wheel: Path, platform: str, forbidden: list[bytes]) -> list[str]:
    """Everything wrong with a wheel, as sentences."""
    architecture = platform.split("_", 3)[3]
    faults = []
    if platform not in wheel.stem.split("-")[-1].split("."):
        faults.append(f"the file's name does not say {platform}")
    with zipfile.ZipFile(wheel) as archive:
        (record_name,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        faults += record_faults(archive, record_name) + content_faults(archive)
        for name in archive.namelist():
            if name.endswith(".so"):
                faults += library_faults(name, archive.read(name), architecture, forbidden)
    shown = json.loads(output("auditwheel", "show", "--json", str(wheel)))
    if f"{platform}" not in json.dumps(shown):
        faults.append(f"auditwheel does not find it to be {platform}: {shown}")
    if "-abi3-" in wheel.name:
        report = json.loads(output("abi3audit", "--report", str(wheel)))
        faults += [f"abi3audit: {text}" for text in abi3_faults(report)]
    return faults


def abi3_faults(report: dict[str, dict]) -> list[str]:
    """Symbols outside the limited API, and modules that need a newer one than the wheel's name states."""
    faults = []
    for spec in report["specs"].values():
        for entry in spec["wheel"]:
            result = entry["result"]
            if result["non_abi3_symbols"]:
                faults.append(f"{entry['name']} uses {', '.join(result['non_abi3_symbols'])}")
            if not result["is_abi3"] or not result["is_abi3_baseline_compatible"]:
                faults.append(f"{entry['name']} needs {result['computed']}, beyond {result['baseline']}")
    return faults


def output(module: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if done.returncode and not done.stdout:
        raise SystemExit(f"{module} {' '.join(arguments)} failed: {done.stderr}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    finishing = commands.add_parser("finish", help="rewrite a wheel in the one order, date and mode")
    finishing.add_argument("source", type=Path)
    finishing.add_argument("destination", type=Path)
    finishing.add_argument("--add", type=Path, action="append", default=[], help="a file for its .dist-info")
    checking = commands.add_parser("check", help="name everything that is wrong with a wheel")
    checking.add_argument("wheel", type=Path)
    checking.add_argument("--platform", required=True)
    checking.add_argument("--forbid", type=os.fsencode, action="append", default=[], help="a path it must not hold")
    options = parser.parse_args()
    if options.command == "finish":
        finish(options.source, options.destination, options.add)
        return 0
    faults = check(options.wheel, options.platform, options.forbid)
    print("\n".join(f"{options.wheel.name}: {fault}" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
