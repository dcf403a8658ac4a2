"""Rows 5 to 9, 12 and 13 of the fault table with real processes: killed, raced, and out of disk."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import zipfile

import pytest

from rsnb.data.download import disk, parts, unpack
from rsnb.data.download.disk import DiskError
from rsnb.data.download.fetch import fetch
from rsnb.data.download.http import download
from rsnb.data.download.loopback import Fault, LoopbackServer
from rsnb.data.download.transfer import HttpOptions
from rsnb.data.manifest import Licence, Manifest, ManifestFile

CHUNK = 64 * 1024  # bytes that a kill may cost
KILLS = 10
QUICK = HttpOptions(backoff_s=0.01)

# Downloads argv[1] to argv[2] with sha256 argv[3]; counts in argv[4] every byte that came out of the socket.
DOWNLOAD = """
import logging, mmap, struct, sys
from rsnb.data.download import transfer
from rsnb.data.download.http import download
url, path, sha, counter = sys.argv[1:5]
logging.basicConfig(level="WARNING", format="%(message)s")
if counter != "-":
    file = open(counter, "r+b")
    shared = mmap.mmap(file.fileno(), 8)
    chunks = transfer._chunks

    def counted(*words):
        for piece in chunks(*words):
            shared[:] = struct.pack("<q", struct.unpack("<q", shared[:])[0] + len(piece))
            yield piece

    transfer._chunks = counted
print(download(url, path, sha256=sha, options=transfer.HttpOptions(backoff_s=0.01)).sha256)
"""

# Fetches the archive that a person put into <argv[1]>/toy, which is to become <argv[1]>/toy/pairs.
FETCH = """
import sys
from rsnb.data.download.fetch import fetch
from rsnb.data.manifest import Licence, Manifest, ManifestFile
toy = Manifest("toy", "A toy", "dataset", "form", Licence("CC0-1.0"), "Nobody", ("01",),
               files=(ManifestFile("a.zip", unpack="pairs"),))
result = fetch(toy, sys.argv[1], progress=False)
print(result.text())
sys.exit(0 if result.complete else 1)
"""


def part_size(path):
    """Bytes of a file that have arrived, whoever has claimed them; 0 before the first."""
    names = [p for p in path.parent.glob(f"{path.name}.part*") if p.suffix not in (".json", ".lock")]
    return max((p.stat().st_size for p in names), default=0)


def test_row_5_kills_at_ten_random_points_cost_a_chunk_each(twenty_megabytes, tmp_path, start, counter, capsys):
    folder, sha = twenty_megabytes
    path = tmp_path / "out" / "data.bin"
    path.parent.mkdir()
    points = sorted(random.Random(5).sample(range(100_000, 19_500_000), KILLS))
    lost, sizes = [], []
    with LoopbackServer(folder, [Fault("*", "slow", at=40_000_000)]) as server:
        for point in points:
            child = start(DOWNLOAD, server.url_of("data.bin"), path, sha, counter.path)
            assert child.wait_until(lambda point=point: part_size(path) >= point)
            child.kill()
            sizes.append(part_size(path))
            # taken out of the socket so far, by all processes, but not in the part: will be sent again
            lost.append(counter.value() - sum(lost) - sizes[-1])
        child = start(DOWNLOAD, server.url_of("data.bin"), path, sha, counter.path)
        code, out, err = child.finish()
        starts = [r.start for r in server.requests(method="GET")]
        sent = sum(r.sent for r in server.log)
    assert code == 0 and out.strip() == sha, err
    assert starts == [None, *sizes]  # each goes on where the part of the dead ended
    assert all(0 <= bytes_ <= CHUNK for bytes_ in lost)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha
    assert os.listdir(path.parent) == ["data.bin"]
    with capsys.disabled():
        print(f"\n{KILLS} kills: sent again at most {max(lost)} bytes a kill, {sum(lost)} in all; with what lay in "
              f"socket buffers {(sent - 20_000_000) / KILLS:.0f} bytes a kill")


def test_row_5_a_server_that_closes_half_way_sends_no_byte_twice(twenty_megabytes, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder, sha = twenty_megabytes
    with LoopbackServer(folder, [Fault("*", "cut", at=10_000_000, times=1)]) as server:
        download(server.url_of("data.bin"), tmp_path / "data.bin", sha256=sha, options=QUICK)
        assert [(r.headers.get("range"), r.status) for r in server.log] == [(None, 200), ("bytes=10000000-", 206)]
        assert sum(r.sent for r in server.log) == 20_000_000


def test_an_interrupt_by_the_user_hands_the_part_back(twenty_megabytes, tmp_path, start):
    folder, sha = twenty_megabytes
    path = tmp_path / "data.bin"
    with LoopbackServer(folder, [Fault("*", "slow", at=20_000_000)]) as server:
        child = start(DOWNLOAD, server.url_of("data.bin"), path, sha, "-")
        assert child.wait_until(lambda: part_size(path) > 1_000_000)
        assert "KeyboardInterrupt" in child.kill(signal.SIGINT)
    assert sorted(os.listdir(tmp_path)) == ["data.bin.part", "data.bin.part.json"]


def test_row_12_two_processes_fetch_one_file_once(twenty_megabytes, tmp_path, start):
    folder, sha = twenty_megabytes
    path = tmp_path / "out" / "data.bin"
    with LoopbackServer(folder, [Fault("*", "slow", at=20_000_000)]) as server:
        children = [start(DOWNLOAD, server.url_of("data.bin"), path, sha, "-") for _ in range(2)]
        ends = [child.finish() for child in children]
        assert [(code, out.strip()) for code, out, _ in ends] == [(0, sha)] * 2
        waited = [err for _, _, err in ends if "is downloading it; waiting" in err]
        assert len(waited) == 1 and any(f"process {child.process.pid} " in waited[0] for child in children)
        assert sum(r.sent for r in server.log) == 20_000_000
    assert os.listdir(path.parent) == ["data.bin"]


def test_row_12_who_waits_goes_on_when_the_first_is_killed(twenty_megabytes, tmp_path, start):
    folder, sha = twenty_megabytes
    path = tmp_path / "out" / "data.bin"
    path.parent.mkdir()
    with LoopbackServer(folder, [Fault("*", "slow", at=20_000_000, times=1)]) as server:
        first = start(DOWNLOAD, server.url_of("data.bin"), path, sha, "-")
        assert first.wait_until(lambda: part_size(path) > 100_000)
        second = start(DOWNLOAD, server.url_of("data.bin"), path, sha, "-")
        assert second.process.stderr.readline().endswith("waiting\n")
        first.kill()
        code, out, _ = second.finish()
        assert (code, out.strip()) == (0, sha) and len(server.log) == 2 and server.log[1].start > 100_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A zip of 300 files, 9 MB unpacked; and what is in it."""
    rng = random.Random(9)
    files = {f"folder{i % 7}/{i:03}.bin": rng.randbytes(30_000) for i in range(300)}
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path, files


def test_row_9_kills_while_unpacking_leave_nothing_half(archive, tmp_path, start, capsys):
    path, files = archive
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.zip").write_bytes(path.read_bytes())
    pairs, hit = tmp_path / "toy" / "pairs", 0
    points = sorted(random.Random(9).sample(range(1, 299), KILLS))
    for point in points:
        def enough(point=point):
            return sum(1 for _ in (tmp_path / "toy").glob(".pairs.unpacking.*/*/*.bin")) >= point

        child = start(FETCH, tmp_path)
        hit += child.wait_until(enough)
        child.kill()
        assert not pairs.exists() or unpack.read_stamp(pairs, "a.zip").faults(hashes=True) == []
    code, out, err = start(FETCH, tmp_path).finish()
    assert code == 0, out + err
    assert {p.relative_to(pairs).as_posix(): p.read_bytes() for p in pairs.rglob("*.bin")} == files
    assert unpack.read_stamp(pairs, "a.zip").faults(hashes=True) == []
    assert sorted(os.listdir(tmp_path / "toy")) == ["a.zip", "pairs"]
    assert hit >= KILLS - 2  # the last points may come after the end
    with capsys.disabled():
        print(f"\n{hit} kills while unpacking: 0 half-written folders, the next fetch verified {len(files)} files")


def test_row_9_kills_while_moving_into_a_folder_in_use(archive, tmp_path, start):
    path, files = archive
    (tmp_path / "toy" / "pairs").mkdir(parents=True)
    (tmp_path / "toy" / "pairs" / "mine.txt").write_text("mine")
    (tmp_path / "toy" / "a.zip").write_bytes(path.read_bytes())
    pairs = tmp_path / "toy" / "pairs"
    for point in (1, 150):
        def enough(point=point):
            return sum(1 for _ in pairs.glob("folder*/*.bin")) >= point

        child = start(FETCH, tmp_path)
        child.wait_until(enough)
        child.kill()
    code, out, err = start(FETCH, tmp_path).finish()
    assert code == 0, out + err
    assert {p.relative_to(pairs).as_posix(): p.read_bytes() for p in pairs.rglob("*.bin")} == files
    assert sorted(os.listdir(pairs)) == sorted([".unpacked-a.zip.json", *{n.partition("/")[0] for n in files},
                                                "mine.txt"])
    assert (pairs / "mine.txt").read_text() == "mine"


def test_row_12_two_processes_unpack_one_archive(archive, tmp_path, start):
    path, files = archive
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.zip").write_bytes(path.read_bytes())
    children = [start(FETCH, tmp_path) for _ in range(2)]
    assert [child.finish()[0] for child in children] == [0, 0]
    pairs = tmp_path / "toy" / "pairs"
    assert {p.relative_to(pairs).as_posix(): p.read_bytes() for p in pairs.rglob("*.bin")} == files
    assert sorted(os.listdir(tmp_path / "toy")) == ["a.zip", "pairs"]
    assert list(json.loads((tmp_path / "rsnb.lock.json").read_text())["files"]) == ["toy/a.zip"]


def test_row_13_a_full_disk_keeps_the_part_and_what_was_there(twenty_megabytes, small_disk, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder, sha = twenty_megabytes
    small = small_disk(4 * 2**20)
    (small / "earlier.txt").write_text("earlier")
    with LoopbackServer(folder, [Fault("*", "no_length")]) as server:  # else it is refused before the first byte
        with pytest.raises(DiskError, match="the disk is full") as error:
            download(server.url_of("data.bin"), small / "data.bin", sha256=sha, options=QUICK)
        assert str(small / "data.bin") in str(error.value) and "goes on after" in str(error.value)
        assert (small / "earlier.txt").read_text() == "earlier" and not (small / "data.bin").exists()
        kept = part_size(small / "data.bin")
        assert kept > 3_900_000
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        server.use_faults()
        assert download(server.url_of("data.bin"), small / "data.bin", sha256=sha, options=QUICK).sha256 == sha
        assert server.log[-1].start == kept
    assert sorted(os.listdir(small)) == ["data.bin", "earlier.txt"]


def test_row_13_what_is_known_not_to_fit_is_not_begun(twenty_megabytes, small_disk, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder, sha = twenty_megabytes
    small = small_disk(24 * 2**20)
    with LoopbackServer(folder) as server, pytest.raises(DiskError, match="needs 20 MB, but 25.2 MB are free"):
        download(server.url_of("data.bin"), small / "data.bin", sha256=sha, options=QUICK)
    assert os.listdir(small) == []


def test_row_13_a_full_disk_while_unpacking(archive, small_disk, monkeypatch):
    path, _ = archive
    small = small_disk(4 * 2**20)
    (small / "earlier.txt").write_text("earlier")
    with pytest.raises(unpack.InputError, match="are free"):
        unpack.unpack(path, small / "out")
    monkeypatch.setattr(unpack, "free_bytes", lambda folder: 10**9 + disk.MARGIN)  # as if others filled it meanwhile
    with pytest.raises(DiskError, match="the disk is full") as error:
        unpack.unpack(path, small / "out")
    assert ".bin" in str(error.value) and "Nothing was unpacked" in str(error.value)
    assert os.listdir(small) == ["earlier.txt"]


def test_a_disk_that_is_read_only(twenty_megabytes, small_disk, archive, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder, sha = twenty_megabytes
    small = small_disk(2**20)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with LoopbackServer(folder) as server:
        for place in (small / "data.bin", small / "new" / "data.bin"):
            with pytest.raises(DiskError, match="cannot be written .Read-only file system") as error:
                download(server.url_of("data.bin"), place, sha256=sha, options=QUICK)
            assert str(place) in str(error.value)
        assert server.log == []
    with pytest.raises(DiskError, match="Read-only"):
        unpack.unpack(archive[0], small / "out")


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))
"""


def test_row_13_a_quota_on_file_size(twenty_megabytes, tmp_path, start):
    folder, sha = twenty_megabytes
    path = tmp_path / "data.bin"
    with LoopbackServer(folder) as server:
        code, _, err = start(LIMITED + DOWNLOAD, server.url_of("data.bin"), path, sha, "-").finish()
        assert code == 1 and f"{path}: the file grows larger than this place allows" in err
        assert part_size(path) == 5_000_000 and not path.exists()
        code, out, _ = start(DOWNLOAD, server.url_of("data.bin"), path, sha, "-").finish()
        assert (code, out.strip()) == (0, sha) and server.log[-1].start == 5_000_000


# Fetches argv[1] as a.zip to <argv[2]>/toy and unpacks it; killed at the argv[3]-th file opened, renamed or removed.
KILLED_AT = """
import os, signal, sys
import gdown, pooch, requests
from rsnb.data.download.fetch import fetch
from rsnb.data.manifest import Licence, Manifest, ManifestFile
calls, fatal = 0, int(sys.argv[3])
def watch(event, words):
    global calls
    if event in ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "shutil.rmtree"):
        calls += event != "open" or sys.argv[2] in str(words[0])
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
toy = Manifest("toy", "A toy", "dataset", "open", Licence("CC0-1.0"), "Nobody", ("01",),
               files=(ManifestFile("a.zip", (sys.argv[1],), unpack="pairs"),))
sys.addaudithook(watch)
result = fetch(toy, sys.argv[2], progress=False)
print(calls)
sys.exit(0 if result.complete else result.text())
"""


def test_a_fetch_killed_at_any_step_is_ended_by_the_next_which_leaves_nothing_behind(tmp_path, start):
    (tmp_path / "web").mkdir()
    with zipfile.ZipFile(tmp_path / "web" / "a.zip", "w") as file:
        file.writestr("a/one.txt", "1")
    with LoopbackServer(tmp_path / "web") as server:
        code, steps, err = start(KILLED_AT, server.url_of("a.zip"), tmp_path / "whole", 0).finish()
        assert code == 0 and int(steps) > 30, err
        for fatal in range(2, int(steps), 6):
            root = tmp_path / f"at {fatal}"
            assert start(KILLED_AT, server.url_of("a.zip"), root, fatal).finish()[0] == -signal.SIGKILL
            code, _, err = start(KILLED_AT, server.url_of("a.zip"), root, 0).finish()
            assert code == 0, err
            found = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.suffix != ".lock"}
            assert found == {"rsnb.lock.json", "toy/a.zip", "toy/pairs/.unpacked-a.zip.json", "toy/pairs/a/one.txt"}


def test_what_is_there_needs_no_write(archive, small_disk):
    """A cluster's data folder is often read-only for its users."""
    small = small_disk(40 * 2**20)
    (small / "toy").mkdir()
    (small / "toy" / "a.zip").write_bytes(archive[0].read_bytes())
    toy = Manifest("toy", "A toy", "dataset", "form", Licence("CC0-1.0"), "Nobody", ("01",),
                   files=(ManifestFile("a.zip", unpack="pairs"),))
    assert fetch(toy, small, progress=False).complete
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for verify in (False, True):
        result = fetch(toy, small, verify=verify, progress=False)
        assert result.complete, result.text()


def test_stray_claims_are_swept_when_the_file_is_there(twenty_megabytes, tmp_path, start):
    folder, sha = twenty_megabytes
    path = tmp_path / "data.bin"
    with LoopbackServer(folder, [Fault("*", "slow", at=20_000_000)]) as server:
        child = start(DOWNLOAD, server.url_of("data.bin"), path, sha, "-")
        assert child.wait_until(lambda: part_size(path) > 100_000)
        child.kill()
    path.write_bytes((folder / "data.bin").read_bytes())  # by other means
    assert download("http://127.0.0.1:9/", path, sha256=sha).url == ""
    assert os.listdir(tmp_path) == ["data.bin"]
    with parts.claim(path) as part:
        assert part.size == 0
