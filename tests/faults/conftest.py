"""Processes that are really killed, and disks that are really full."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE_S = 60.0


class Child:
    """A Python process of its own that runs a program text; killed at the end if it still lives."""

    def __init__(self, program: str, *words: object):
        # a job in the background inherits an interrupt that is ignored, and Python then leaves it so
        program = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{program}"
        environment = {**os.environ, "NO_PROXY": "127.0.0.1,localhost", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, "-c", program, *map(str, words)], env=environment, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def kill(self, number: int = signal.SIGKILL) -> str:
        """End it by a signal; gives what it said on stderr."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE_S)[1]

    def finish(self) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) when it has ended by itself."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def wait_until(self, reached) -> bool:
        """Look again and again, and tell whether it was reached before the process ended."""
        until = time.monotonic() + PATIENCE_S
        while not _now(reached):
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < until, "the process hangs"
            time.sleep(0.0005)
        return True


def _now(reached) -> bool:
    try:
        return reached()
    except FileNotFoundError:  # removed between two looks
        return False


@pytest.fixture
def start():
    """`start(program, word, ...)` starts a Child."""
    children = []

    def begin(program: str, *words: object) -> Child:
        children.append(Child(program, *words))
        return children[-1]

    yield begin
    for child in children:
        if child.process.poll() is None:
            child.kill()


@pytest.fixture(scope="session")
def twenty_megabytes(tmp_path_factory) -> tuple[Path, str]:
    """A folder with data.bin of 20 MB of noise, and its sha256."""
    folder = tmp_path_factory.mktemp("web")
    content = random.Random(20).randbytes(20_000_000)
    (folder / "data.bin").write_bytes(content)
    return folder, hashlib.sha256(content).hexdigest()


class Counter:
    """A number in a file that a child process adds to and that outlives its kill."""

    def __init__(self, path: Path):
        self.path = path
        path.write_bytes(bytes(8))

    def value(self) -> int:
        return struct.unpack("<q", self.path.read_bytes())[0]


@pytest.fixture
def counter(tmp_path) -> Counter:
    return Counter(tmp_path / "counter")


@pytest.fixture
def small_disk(tmp_path):
    """`small_disk(bytes)` mounts a file system of this size; the test is skipped where that is not allowed."""
    mounted = []

    def make(size: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode != 0:
            pytest.skip("no file system can be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
