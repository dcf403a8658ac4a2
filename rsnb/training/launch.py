"""The other processes of a team: started, handed the training, watched, ended.

A process that fails writes its reason into a file, where it can. Whoever waits for it on the CPU is told by the
connection; on a GPU nobody would be told: a thread watches them.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.training.parallel import AnotherFailed, Team, in_team

_MAPPED = 1 << 20  # bytes from which an array is handed over as a file that all processes map
_JOIN_SECONDS = 300.0  # until a process must have built its replica
_LOOK_SECONDS = 0.1  # between looks at the others
_GRACE_SECONDS = 2.0  # in which whoever waits for a dead process mostly finds out by itself


@contextmanager
def launched(replica: Callable, devices: int, device: torch.device, options: Any,
             save_state: Callable[[Path], Any]) -> Iterator[Team]:
    """A team whose other processes are running and wait for the first step.

    Args:
        replica: `replica(device: str)` gives (step, trained) of the same training; it must be picklable, and its
            arrays are mapped from files, not copied.
        devices: processes in all.
        device: of this process.
        options: of the loop, for the others.
        save_state: writes the checkpoint that the others begin with.

    Raises:
        InputError: what happened in another process, as it told it; or that one of them ended without a word.
    """
    from rsnb.training.ranks import connect, disconnect, free_port, give_up

    kept = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")}
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="rsnb-team-") as place:
        folder = Path(place)
        (folder / "task.pkl").write_bytes(_with_mapped_arrays((replica, options), folder))
        save_state(folder / "state.ckpt")
        port = free_port()
        others = _Others(folder, _start(place, devices, port, device.type))
        done = False
        try:
            if device.type == "cpu":
                torch.set_num_threads(max(threads // devices, 1))
            others.wait_until_ready()
            members = connect(0, devices, port, device.type, others.failed)
            with others.watched(members, give_up), in_team(members):
                yield members
            done = True
        except (AnotherFailed, RuntimeError) as error:
            reason = others.reason()
            if reason is None:
                raise
            raise reason from error
        finally:
            if done:
                disconnect()  # all leave together; after a failure nobody may be waited for
            others.end(10.0 if done else 0.0)
            disconnect()
            torch.set_num_threads(threads)
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


class _Others:
    """The processes that are not the first, as the first one sees them.

    Attributes:
        folder: where they put their marks: ready-<rank>, failed-<rank>.pkl.
        processes: of rank 1 on.
    """

    def __init__(self, folder: Path, processes: Sequence[subprocess.Popen]):
        self.folder, self.processes = folder, processes

    def failed(self) -> bool:
        """One said why it cannot go on, or has ended before its time."""
        return any(self.folder.glob("failed-*.pkl")) or any(p.poll() not in (None, 0) for p in self.processes)

    def wait_until_ready(self) -> None:
        """Wait for their replicas."""
        begin = time.monotonic()
        while not all((self.folder / f"ready-{rank}").exists() for rank in range(1, len(self.processes) + 1)):
            if self.failed():
                raise AnotherFailed
            if time.monotonic() - begin > _JOIN_SECONDS:
                raise InputError(f"another process was not ready after {_JOIN_SECONDS:.0f} s", where="devices",
                                 mend="Set devices = 1")
            time.sleep(0.02)

    @contextmanager
    def watched(self, members: Team, give_up: Callable[[], Any]) -> Iterator[None]:
        """Inside, a thread looks after them; where one fails, `members` does nothing together any more, and what waits
        for it on a GPU is given up."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_SECONDS):
                if self.failed():
                    if not over.wait(_GRACE_SECONDS):
                        members.broken.set()
                        with suppress(Exception):  # there is nobody left to tell
                            give_up()
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def reason(self) -> Exception | None:
        """Why one of them ended: its own error, or that it ended without one."""
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline and not self.failed():
            time.sleep(0.05)
        codes = {rank: code for rank, p in enumerate(self.processes, start=1) if (code := p.poll())}
        said = sorted(self.folder.glob("failed-*.pkl"), key=lambda path: path.stat().st_mtime_ns)
        killed = [rank for rank, code in codes.items() if code < 0]
        if said and not killed:  # of several, the later ones only lost the first
            return pickle.loads(said[0].read_bytes())
        if not codes:
            return None
        rank = killed[0] if killed else min(codes)
        return InputError(f"process {rank} of the training ended with code {codes[rank]}",
                          where=f"devices = {len(self.processes) + 1}",
                          mend="Its own words stand above; code -9 is the system's, for memory. Or set devices = 1")

    def end(self, patience: float) -> None:
        """Let them end by themselves for some seconds, where all steps were done; then end them."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(p.poll() is None for p in self.processes):
            time.sleep(0.02)
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _with_mapped_arrays(value: Any, folder: Path) -> bytes:
    class Pickler(pickle.Pickler):
        def reducer_override(self, item):
            if not isinstance(item, np.ndarray) or item.nbytes < _MAPPED or item.dtype.hasobject:
                return NotImplemented
            path = folder / f"{len(list(folder.glob('*.npy')))}.npy"
            np.save(path, item)
            return np.load, (str(path), "r")

    stream = io.BytesIO()
    try:
        Pickler(stream).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"the training cannot be handed to other processes ({' '.join(str(error).split())[:160]})",
                         where="devices", mend="Build it of importable functions and classes, or set devices = 1"
                         ) from error
    return stream.getvalue()


def _start(place: str, devices: int, port: int, kind: str) -> list[subprocess.Popen]:
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)  # where this process finds what the replica names
    env = os.environ | {"PYTHONPATH": path}
    if kind == "cpu":
        env["OMP_NUM_THREADS"] = str(max(torch.get_num_threads() // devices, 1))
    # a session of their own: whoever interrupts this process is answered by it alone, which then ends them
    return [subprocess.Popen([sys.executable, "-m", "rsnb.training.worker", place, str(rank), str(devices), str(port),
                              kind], env=env, start_new_session=True) for rank in range(1, devices)]
