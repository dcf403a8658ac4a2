"""Archives, friendly and hostile: typed by hand, made by the standard library, and by the programs zip and tar."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import filelock
import pytest

from rsnb.data.download import archives, disk, owners
from rsnb.data.download import unpack as unpacking
from rsnb.data.download.disk import DiskError
from rsnb.data.download.members import HostileError, Limits
from rsnb.data.download.unpack import read_stamp, unpack
from rsnb.errors import InputError

FILES = {"a.txt": b"one", "sub/b.bin": random.Random(2).randbytes(5000), "sub/deep/c": b"", "sub/d.tar.gz": b"x" * 300}


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, bytes) pairs, in this order."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def make_tar(path, members, mode="w", **options):
    """A tar of (name or TarInfo, bytes) pairs, in this order."""
    with tarfile.open(path, mode, **options) as file:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def tree(folder):
    """{path: bytes} of the files in a folder, but for stamps."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and not p.name.startswith(".unpacked-")}


def everything(folder):
    """All that lies in a folder, bytes of files included."""
    return {p.relative_to(folder).as_posix(): p.is_file() and p.read_bytes() for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_what_the_library_packs_comes_out(tmp_path, kind):
    path = tmp_path / f"data.{kind}"
    members = list(FILES.items())
    if kind == "zip":
        make_zip(path, [("sub/", b""), *members])
    else:
        make_tar(path, members, f"w:{kind.partition('.')[2]}")
    got = unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES
    assert got.archive_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert got.bytes == sum(map(len, FILES.values()))
    assert got.files["a.txt"] == (3, hashlib.sha256(b"one").hexdigest())
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "out"]


@pytest.mark.parametrize("program", ["zip", "tar"])
def test_what_other_programs_pack_comes_out(tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    for name, content in FILES.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(content)
    words = ["zip", "-qr", "../data", "."] if program == "zip" else ["tar", "czf", "../data", "."]
    subprocess.run(words, cwd=tmp_path / "src", check=True)
    path = next(p for p in tmp_path.iterdir() if p.name.startswith("data"))
    path = path.rename(tmp_path / "named.wrongly")  # told by its first bytes
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


def test_a_zip_typed_by_hand_comes_out(tmp_path):
    # APPNOTE 4.3.7, 4.3.12, 4.3.16: one stored file "a/b" with the content "hi", CRC-32 of "hi" 0xD8932AAC
    assert zlib.crc32(b"hi") == 0xD8932AAC
    same = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, 0xD8932AAC, 2, 2, 3, 0)
    local = b"PK\x03\x04" + same + b"a/b" + b"hi"
    central = b"PK\x01\x02" + struct.pack("<H", 20) + same + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a/b"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    (tmp_path / "hand.zip").write_bytes(local + central + end)
    unpack(tmp_path / "hand.zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a/b": b"hi"}


def test_a_tar_of_1979_typed_by_hand_comes_out(tmp_path):
    # name 100, mode 8, uid 8, gid 8, size 12, mtime 12, sum 8, type 1: octal numbers, no magic word
    header = bytearray(b"a".ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"00000000002\0" + b"0" * 11 + b"\0"
                       + b" " * 8 + b"\0").ljust(512, b"\0")
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "old.tar").write_bytes(header + b"hi".ljust(512, b"\0") + bytes(1024))
    unpack(tmp_path / "old.tar", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"hi"}


def test_names_from_old_windows_and_from_macs(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("x.txt", b"1"), ("__MACOSX/._x.txt", b"fork"), ("é/ü.txt", b"2")])
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == {"x.txt": b"1", "é/ü.txt": b"2"}
    swapped = make_zip(tmp_path / "b.zip", [("dir/y.txt", b"1")]).read_bytes().replace(b"dir/y", b"dir\\y")
    (tmp_path / "b.zip").write_bytes(swapped)
    unpack(tmp_path / "b.zip", tmp_path / "b")
    assert tree(tmp_path / "b") == {"dir/y.txt": b"1"}


TREE = ("view_split.txt", "scene_*/Images/*.png", "*/*/model")


@pytest.mark.parametrize(("names", "tree", "out"), [
    (["LEVIR-NVS/view_split.txt", "LEVIR-NVS/scene_000/Images/0.png"], TREE, ["scene_000/Images/0.png",
                                                                             "view_split.txt"]),
    (["a/scene_1/Images/x.png", "a/other"], TREE, ["other", "scene_1/Images/x.png"]),
    (["a/b/c/model"], TREE, ["b/c/model"]),
    (["b/c/model"], TREE, ["b/c/model"]),
    (["scene_000/Images/1.png"], TREE, ["scene_000/Images/1.png"]),  # the one folder belongs to the tree
    (["scene_0/Images/1.png", "scene_0/scene_0/Images/1.png"], TREE, ["scene_0/Images/1.png",
                                                                     "scene_0/scene_0/Images/1.png"]),
    (["a/view_split.txt", "read me.txt"], TREE, ["a/view_split.txt", "read me.txt"]),  # not around all
    (["a/b/view_split.txt"], TREE, ["a/b/view_split.txt"]),
    (["a/unknown/x"], TREE, ["a/unknown/x"]),
    (["a/view_split.txt"], (), ["a/view_split.txt"]),
    (["a/b/c/x.tiff"], ("**/*.tiff",), ["a/b/c/x.tiff"]),
])
def test_one_folder_around_everything_is_left_out_if_the_tree_has_it_not(tmp_path, names, tree, out):
    for path in (make_zip(tmp_path / "a.zip", [("a/", b"")] * names[0].startswith("a/") + [(n, b"1") for n in names]),
                 make_tar(tmp_path / "a.tar.gz", [(n, b"1") for n in names], "w:gz")):
        folder = tmp_path / path.name[2:5]
        got = unpack(path, folder, tree=tree)
        files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        assert sorted(got.files) == out and sorted(f for f in files if not f.startswith(".unpacked-")) == out
        assert got.faults(hashes=True) == [] and unpack(path, folder, tree=tree) == got


# ---- hostile


def tar_member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.devmajor, info.devminor = kind, link, 1, 3
    return info


def zip_member(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def nul_zip(path):
    make_zip(path, [("goodXbad.txt", b"1")])
    path.write_bytes(path.read_bytes().replace(b"goodXbad", b"good\0bad"))
    return path


def nul_tar(path):
    info = tarfile.TarInfo("x")
    info.pax_headers = {"path": "good\0bad.txt"}
    return make_tar(path, [(info, b"1")], format=tarfile.PAX_FORMAT)


def encrypted_zip(path):
    make_zip(path, [("secret.txt", b"1")])
    content = bytearray(path.read_bytes())
    content[6] |= 1  # general purpose flag, bit 0, in the local header (4.4.4)
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


def memory_tar(path):
    """A long name of 5 GB: 48 bytes of gzip a megabyte, but tarfile would read it into memory in one go."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5 * 2**30
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))
    return path


ONE = [("fine.txt", b"1")]
# Row 8 of the fault table, each as zip and as tar where the format can say it; then what else has been seen.
HOSTILE = {
    "parent, zip": ("climbs out", lambda p: make_zip(p, [*ONE, ("../../evil.txt", b"1")])),
    "parent, tar": ("climbs out", lambda p: make_tar(p, [*ONE, ("a/../../../evil.txt", b"1")])),
    "absolute, zip": ("absolute path", lambda p: make_zip(p, [*ONE, ("/tmp/evil.txt", b"1")])),
    "absolute, tar": ("absolute path", lambda p: make_tar(p, [*ONE, ("/tmp/evil.txt", b"1")])),
    "drive letter, zip": ("names a drive", lambda p: make_zip(p, [*ONE, ("C:/evil.txt", b"1")])),
    "drive letter, tar": ("names a drive", lambda p: make_tar(p, [*ONE, ("c:evil.txt", b"1")])),
    "symlink, zip": ("is a link", lambda p: make_zip(p, [*ONE, (zip_member("l", stat.S_IFLNK | 0o777), b"/etc")])),
    "symlink, tar": ("is a link", lambda p: make_tar(p, [
        *ONE, (tar_member("l", tarfile.SYMTYPE, "/tmp"), b""), ("l/evil.txt", b"1")])),
    "hardlink, tar": ("is a link", lambda p: make_tar(p, [
        *ONE, (tar_member("l", tarfile.LNKTYPE, "/etc/passwd"), b"")])),
    "device, zip": ("device or pipe", lambda p: make_zip(p, [*ONE, (zip_member("d", stat.S_IFBLK | 0o777), b"")])),
    "device, tar": ("device or pipe", lambda p: make_tar(p, [*ONE, (tar_member("d", tarfile.CHRTYPE), b"")])),
    "pipe, tar": ("device or pipe", lambda p: make_tar(p, [*ONE, (tar_member("d", tarfile.FIFOTYPE), b"")])),
    "bomb, zip": ("a bomb", lambda p: make_zip(p, [*ONE, ("bomb", bytes(10_000_000))])),
    "bomb, tar.gz": ("a bomb", lambda p: make_tar(p, [*ONE, ("bomb", bytes(10_000_000))], "w:gz")),
    "bomb, tar.xz": ("a bomb", lambda p: make_tar(p, [*ONE, ("bomb", bytes(10_000_000))], "w:xz")),
    "bomb of many, zip": ("a bomb", lambda p: make_zip(p, [(f"{i}", bytes(100_000)) for i in range(100)])),
    "duplicate names, zip": ("there twice", lambda p: make_zip(p, [*ONE, ("./fine.txt", b"2")])),
    "duplicate names, tar": ("there twice", lambda p: make_tar(p, [*ONE, *ONE])),
    "NUL, zip": ("control character", nul_zip),
    "NUL, tar": ("control character", nul_tar),
    "case clash, zip": ("case alone", lambda p: make_zip(p, [*ONE, ("FINE.txt", b"2")])),
    "case clash of folders, tar": ("case alone", lambda p: make_tar(p, [("a/x", b"1"), ("A/y", b"2")])),
    "case clash of accents, zip": ("case alone", lambda p: make_zip(p, [("\u00e9", b"1"), ("e\u0301", b"2")])),
    "deep path, zip": ("folders deep", lambda p: make_zip(p, [*ONE, ("a/" * 100 + "evil", b"1")])),
    "deep path, tar": ("folders deep", lambda p: make_tar(p, [*ONE, ("a/" * 300 + "evil", b"1")])),
    "trailing dot, zip": ("dot or a blank", lambda p: make_zip(p, [*ONE, ("evil.", b"1")])),
    "trailing blank, tar": ("dot or a blank", lambda p: make_tar(p, [*ONE, ("folder /evil", b"1")])),
    "long name, zip": ("too long", lambda p: make_zip(p, [*ONE, ("e" * 300, b"1")])),
    "file and folder, zip": ("file and a folder", lambda p: make_zip(p, [("a", b"1"), ("a/b", b"1")])),
    "folder and file, tar": ("file and a folder", lambda p: make_tar(p, [("a/b", b"1"), ("a", b"1")])),
    "backslash, zip": ("climbs out", lambda p: make_zip(p, [*ONE, ("..\\evil.txt", b"1")])),
    "backslash, tar": ("backslash", lambda p: make_tar(p, [*ONE, ("..\\evil.txt", b"1")])),
    "folder with content, zip": ("folder with content", lambda p: make_zip(p, [*ONE, ("a/", b"1")])),
    "encrypted, zip": ("is encrypted", encrypted_zip),
    "memory, tar.gz": ("5368709120 bytes long", memory_tar),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_changes(tmp_path, kind):
    words, make = HOSTILE[kind]
    (tmp_path / "in" / "home").mkdir(parents=True)
    path = make(tmp_path / "in" / "data.archive")
    (tmp_path / "in" / "home" / "mine.txt").write_bytes(b"mine")
    before = everything(tmp_path)
    for folder in ("home", "new"):
        with pytest.raises(InputError, match=words) as error:
            unpack(path, tmp_path / "in" / folder)
        assert str(path) in str(error.value) and "nothing was unpacked" in str(error.value)
        assert everything(tmp_path) == before
    assert not os.path.exists("/tmp/evil.txt")


def test_the_bomb_of_the_table_has_its_thousandfold_ratio(tmp_path):
    path = HOSTILE["bomb, zip"][1](tmp_path / "bomb.zip")
    assert 10_000_000 / path.stat().st_size > 900
    unpack(path, tmp_path / "out", limits=Limits(ratio=2000))
    assert (tmp_path / "out" / "bomb").stat().st_size == 10_000_000


def test_small_and_well_packed_is_no_bomb(tmp_path):
    unpack(make_zip(tmp_path / "a.zip", [("mask", bytes(1_000_000))]), tmp_path / "out")
    text = b"lat,lon\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(300_000))
    unpack(make_zip(tmp_path / "b.zip", [("table.csv", text)]), tmp_path / "table")


def test_what_cannot_fit_is_refused(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", FILES.items())
    monkeypatch.setattr(unpacking, "free_bytes", lambda p: disk.MARGIN + 5000)
    with pytest.raises(HostileError, match="but 5000 are free"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- damaged


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
def test_a_cut_archive_is_told_and_nothing_is_left(tmp_path, kind, share):
    members = [(f"{i}.bin", random.Random(i).randbytes(30_000)) for i in range(10)]
    path = tmp_path / f"data.{kind}"
    make_zip(path, members) if kind == "zip" else make_tar(path, members, f"w:{kind.partition('.')[2]}")
    whole = path.read_bytes()
    if kind == "tar":  # it ends with up to 10 KiB of padding, and what is cut from that is no loss
        whole = whole[:10 * (512 + 30_208)] + bytes(1024)
        share = min(share, 0.99)
    path.write_bytes(whole[:int(len(whole) * share)])
    with pytest.raises(InputError, match="damaged or cut short|neither zip nor tar") as error:
        unpack(path, tmp_path / "out")
    assert str(path) in str(error.value)
    assert os.listdir(tmp_path) == [path.name]


def test_a_tar_cut_between_two_members_is_told_too(tmp_path):
    path = make_tar(tmp_path / "a.tar", [("a", bytes(512)), ("b", bytes(512))])
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(InputError, match="its end is missing"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_a_flipped_bit_is_noticed_by_the_checksum(tmp_path, kind):
    path = tmp_path / f"data.{kind}"
    members = [("a.bin", random.Random(3).randbytes(50_000))]
    make_zip(path, members, zipfile.ZIP_STORED) if kind == "zip" else make_tar(path, members, f"w:{kind[4:]}")
    content = bytearray(path.read_bytes())
    content[25_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whatever_is_wrong_in_an_archive_is_one_kind_of_error(tmp_path):
    """1 to 30 bytes changed, or the end cut off, in 250 archives: refused, or unpacked; never another exception."""
    rng = random.Random(11)
    files = [("a/b.txt", b"hello" * 40), ("a/c.bin", rng.randbytes(300)), ("d" * 110 + "/e", b"a long name")]
    whole = []
    for kind in ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz"):
        path = tmp_path / kind
        make_zip(path, files) if kind == "zip" else make_tar(path, files, f"w:{kind[4:]}")
        whole.append(path.read_bytes())
        path.unlink()
    outcomes = set()
    for case in range(250):
        content = bytearray(whole[case % 5])
        for _ in range(rng.choice([1, 2, 5, 30])):
            content[rng.randrange(len(content))] = rng.choice([rng.randrange(256), 0, 255])
        home = tmp_path / f"{case}"
        home.mkdir()
        (home / "a").write_bytes(content[:rng.randrange(len(content))] if rng.random() < 0.2 else content)
        try:
            unpack(home / "a", home / "out")
        except DiskError:
            raise
        except InputError:
            outcomes.add("refused")
            assert os.listdir(home) == ["a"]
        else:
            outcomes.add("unpacked")
            assert sorted(os.listdir(home)) == ["a", "out"]
    assert outcomes == {"refused", "unpacked"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_name_leads_out(tmp_path, kind):
    rng = random.Random(12)
    pieces = ["a", "B", "..", ".", "/", "/", "\\", " ", "C:", "\u00e9", "x.txt", "~", "-", "\n", "con"]
    taken = 0
    for case in range(200):
        names = ["".join(rng.choices(pieces, k=rng.randrange(1, 7))) for _ in range(2)]
        home = tmp_path / f"{case}" / "home"
        home.mkdir(parents=True)
        members = [(name, name.encode()) for name in names]
        path = make_zip(home / "archive", members) if kind == "zip" else make_tar(home / "archive", members)
        try:
            got = unpack(path, home / "out")
        except InputError:
            assert os.listdir(home) == ["archive"]
        else:
            taken += 1
            assert sorted((home / "out" / name).read_bytes() for name in got.files) == sorted(c for _, c in members)
        assert os.listdir(home.parent) == ["home"]
    assert 10 < taken < 190


@pytest.mark.parametrize(("content", "words"), [
    (b"<!DOCTYPE html><html>", "it is a web page"), (b"7z\xbc\xaf\x27\x1c", "it is a 7z"), (b"", "neither zip nor tar"),
    (b"Rar!\x1a\x07", "it is a rar"), (gzip.compress(b"just text", mtime=0), "damaged"),
    (bytes(4096), "neither zip nor tar"), (bz2.compress(b"x")[:-3], "damaged"), (lzma.compress(b"x")[:-3], "damaged"),
], ids=["page", "7z", "nothing", "rar", "gzip", "zeros", "bzip2", "xz"])
def test_what_is_no_archive_is_named(tmp_path, content, words):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=words):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.zip"]


def test_an_empty_archive_and_a_missing_one(tmp_path):
    make_zip(tmp_path / "a.zip", [])
    with pytest.raises(InputError, match="no file in this archive"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(InputError, match="no such archive"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


# ---- twice, into what is there, and after a kill


def test_it_is_not_unpacked_twice_unless_something_is_missing(tmp_path, monkeypatch):
    path, out = make_zip(tmp_path / "a.zip", FILES.items()), tmp_path / "out"
    first = unpack(path, out)
    opened = []
    real = archives.open_archive
    monkeypatch.setattr(unpacking, "open_archive", lambda *words: opened.append(1) or real(*words))
    assert unpack(path, out) == first and not opened
    (out / "a.txt").unlink()
    assert first.faults() == ["a.txt"]
    assert unpack(path, out) == first and opened == [1] and tree(out) == FILES
    (out / "a.txt").write_bytes(b"eno")
    assert first.faults() == [] and first.faults(hashes=True) == ["a.txt"]


def test_several_archives_share_a_folder_and_nothing_else_is_replaced(tmp_path):
    out = tmp_path / "out"
    unpack(make_zip(tmp_path / "a.zip", [("x/a.txt", b"1"), ("same.txt", b"s")]), out)
    unpack(make_tar(tmp_path / "b.tar", [("x/b.txt", b"2"), ("same.txt", b"s")]), out)
    assert tree(out) == {"x/a.txt": b"1", "x/b.txt": b"2", "same.txt": b"s"}
    assert read_stamp(out, "a.zip").files.keys() == {"x/a.txt", "same.txt"} and read_stamp(out, "b.tar") is not None
    before = everything(tmp_path)
    for members in ([("new.txt", b"n"), ("x/a.txt", b"other")], [("x", b"a file")], [("same.txt/in", b"a folder")]):
        path = make_zip(tmp_path / "c.zip", members)
        with pytest.raises(InputError, match="would replace other files") as error:
            unpack(path, out)
        assert "Move them away" in str(error.value)
        path.unlink()
        assert everything(tmp_path) == before


def test_an_archive_is_unpacked_beside_itself(tmp_path):
    path = make_zip(tmp_path / "a.zip", FILES.items())
    unpack(path, tmp_path)
    path.unlink()
    assert tree(tmp_path) == FILES and read_stamp(tmp_path, "a.zip").faults(hashes=True) == []


def test_another_archive_of_the_same_name_is_another_one(tmp_path):
    unpack(make_zip(tmp_path / "a.zip", [("a.txt", b"1")]), tmp_path / "out")
    unpack(make_zip(tmp_path / "a.zip", [("b.txt", b"2")]), tmp_path / "out")
    assert tree(tmp_path / "out") == {"a.txt": b"1", "b.txt": b"2"}


def test_who_waits_for_another_to_unpack_says_so(tmp_path, caplog):
    path, out = make_zip(tmp_path / "a.zip", FILES.items()), tmp_path / "out"
    with filelock.FileLock(tmp_path / ".out.unpack.lock") as other, ThreadPoolExecutor() as pool:
        waiting = pool.submit(unpack, path, out)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.5)
        assert f"{out}: another process is unpacking into it; waiting" in caplog.text and not out.exists()
        other.release()
        waiting.result(timeout=30)
    assert tree(out) == FILES


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    living = owners.new_tag()
    host, _, _, token = living.split("-")
    dead = f"{host}-99999999-1-{token}"
    for folder in (tmp_path / f".out.unpacking.{dead}", out / f".unpacking.{dead}",
                   tmp_path / f".out.unpacking.{living}"):
        folder.mkdir()
        (folder / "half").write_bytes(b"1")
    unpack(make_zip(tmp_path / "a.zip", [("a.txt", b"1")]), out)
    owners.release(living)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".out.unpacking.{living}", "a.zip", "out"]
    assert tree(out) == {"a.txt": b"1"}


@pytest.mark.parametrize("damage", ["{]", "[]", '{"sha256": 1}', '{"sha256": "x", "files": {"a": 3}}'])
def test_a_damaged_stamp_counts_as_none(tmp_path, damage):
    path = make_zip(tmp_path / "a.zip", [("a.txt", b"1")])
    unpack(path, tmp_path / "out")
    stamp = tmp_path / "out" / ".unpacked-a.zip.json"
    assert json.loads(stamp.read_text())["archive"] == "a.zip"
    stamp.write_text(damage)
    assert read_stamp(tmp_path / "out", "a.zip") is None
    assert unpack(path, tmp_path / "out").files.keys() == {"a.txt"}


def test_a_full_disk_while_unpacking_leaves_nothing(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", FILES.items())

    def full(handle):
        raise OSError(28, os.strerror(28), str(tmp_path / "out" / "a.txt"))

    monkeypatch.setattr(unpacking.os, "fsync", full)
    with pytest.raises(DiskError, match="disk is full") as error:
        unpack(path, tmp_path / "out")
    assert "a.txt" in str(error.value) and "Nothing was unpacked" in str(error.value)
    assert os.listdir(tmp_path) == ["a.zip"]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("x")
    path = make_zip(tmp_path / "a.zip", [("a.txt", b"1")])
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(DiskError, match="cannot be written"):
            unpack(path, folder)
    assert (tmp_path / "out").read_text() == "x"
