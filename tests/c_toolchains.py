"""Compilers that the tests of the exported C header share, and how they are called."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest

STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compiled(source, name, command):
    """The path of the program, compiled once; the compiler's complaints where there are any."""
    program = source.with_name(name)
    if program.exists():
        return [str(program)]
    build = [*command, "main.c", "-o", program.name, "-lm"]
    run = subprocess.run(build, cwd=source.parent, capture_output=True, text=True)
    assert run.returncode == 0, f"{' '.join(command)} refuses the header:\n{run.stderr[:4000]}"
    return [str(program)]


def native(compiler, *flags):
    def build(source):
        if shutil.which(compiler) is None:
            if compiler == "gcc":
                pytest.fail("gcc is not installed; the exported header cannot be tested without it")
            pytest.skip(f"{compiler} is not installed: the header was not compiled with it")
        name = "-".join([compiler, *flags]).replace("/", "").replace("=", "").replace(",", "")
        return compiled(source, f"run-{name}", [compiler, *flags, *STRICT])

    return build


def foreign(target, emulator):
    def build(source):
        if importlib.util.find_spec("ziglang") is None:
            pytest.skip(f"ziglang is not installed: the header was not compiled for {target}")
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-static", "-std=c99", "-O2", *STRICT]
        program = compiled(source, f"run-{target}", zig)
        if shutil.which(emulator) is None:
            pytest.skip(f"{emulator} is not installed: the header was compiled for {target} but not run")
        return [emulator, *program]

    return build


C99 = ["-std=c99"]
TOOLCHAINS = {
    "gcc": native("gcc", *C99, "-O2", "-Wconversion", "-Wshadow", "-Wdouble-promotion"),
    "gcc-sanitizers": native("gcc", *C99, "-O0", *SANITIZE),
    "clang": native("clang", *C99, "-O2"),
    "g++": native("g++", "-xc++", "-std=c++17", "-O2"),
    "aarch64": foreign("aarch64-linux-musl", "qemu-aarch64-static"),
    "arm": foreign("arm-linux-musleabihf", "qemu-arm-static"),
}
