"""Compile for another system what a build folder compiles for this one: FOLDER TARGET.

The commands are those of its compile_commands.json, with zig in the compiler's place, and Python's
headers with what they know of the other system. Instruction sets of another processor are left out.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What follows this machine's own settings in pyconfig.h.
SETTINGS = """
#ifdef _WIN32
#define MS_WINDOWS
#define MS_WIN64
#define NT_THREADS
#undef SIZEOF_LONG
#define SIZEOF_LONG 4
#undef SIZEOF_WCHAR_T
#define SIZEOF_WCHAR_T 2
#undef HAVE_PTHREAD_H
#undef HAVE_SYS_SELECT_H
#undef HAVE_SYS_TIME_H
#undef HAVE_UNISTD_H
#undef _POSIX_THREADS
#endif
"""
DROPPED = re.compile(r"-fPIC|-pthread|-g|-O\d|-D_FILE_OFFSET_BITS=.*|-fdiagnostics-color=.*|-M\w*")


def headers(folder):
    """A copy of Python's headers for any system."""
    copy, include = folder / "python", Path(sysconfig.get_path("include"))
    if not copy.exists():
        shutil.copytree(include, copy)
        own = Path(sysconfig.get_config_h_filename())
        multiarch = include.parent / str(sysconfig.get_config_var("MULTIARCH")) / include.name
        if (multiarch / "pyconfig.h").exists():  # of Debian, whose other one only looks for it
            own = multiarch / "pyconfig.h"
        (copy / "pyconfig.h").write_text(own.read_text() + SETTINGS)
    return copy


def translate(command, target, python):
    """A compiler's command for another system; None where its instruction set is another's."""
    words = ["-O0", "-Werror", f"-I{python}"]
    given = iter(shlex.split(command)[1:])
    for word in given:
        if word in ("-MF", "-MQ", "-o"):
            next(given)
        elif word.startswith("-march="):
            if not target.startswith("x86_64"):
                return None
            words.append("-mcpu=" + word.removeprefix("-march=").replace("-", "_"))
        elif not DROPPED.fullmatch(word) and not word.startswith(
            f"-I{sysconfig.get_path('include')}"
        ):
            words.append(word)
    return [sys.executable, "-m", "ziglang", "cc", "-target", target, *words, "-o", os.devnull]


def main(folder, target):
    folder = Path(folder)
    python = headers(folder)
    entries = json.loads((folder / "compile_commands.json").read_text())
    commands = [
        translate(entry["command"], target, python)
        for entry in entries
        if entry["file"].endswith(".c")  # the others are Cython's
    ]
    commands = [command for command in commands if command is not None]

    def compile(command):
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compile, commands))
    failed = [result for result in results if result.returncode]
    for result in failed[:10]:
        print(shlex.join(result.args), result.stderr[:3000], sep="\n")
    print(f"{target}: {len(results)} compiled, {len(failed)} failed")
    return bool(failed or not results)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
