"""rsnb fetch from manifests: what is planned, done, recorded, refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import zipfile

import pytest

from rsnb.data.download import fetch as fetching
from rsnb.data.download import lock, plan
from rsnb.data.download.answers import DownloadError
from rsnb.data.download.disk import DiskError
from rsnb.data.download.drive import download_from_drive, drive_id_of
from rsnb.data.download.fetch import fetch, plan_fetch
from rsnb.data.download.http import ChecksumError
from rsnb.data.download.loopback import Fault, LoopbackServer
from rsnb.data.download.transfer import Expected, HttpOptions
from rsnb.data.manifest import Licence, Manifest, ManifestFile
from rsnb.errors import InputError

QUICK = HttpOptions(backoff_s=0.005, tries=2)
CONTENT = random.Random(4).randbytes(100_000)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest(*files, **changes) -> Manifest:
    values = {"name": "toy", "title": "A toy", "kind": "dataset", "access": "open", "licence": Licence("CC0-1.0"),
              "citation": "Nobody", "used_by": ("01",), "files": tuple(files), **changes}
    return Manifest(**values)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def server(tmp_path):
    web = tmp_path / "web"
    web.mkdir()
    (web / "a.bin").write_bytes(CONTENT)
    (web / "b.txt").write_bytes(b"two")
    with zipfile.ZipFile(web / "c.zip", "w") as file:
        file.writestr("x/one.txt", b"1")
        file.writestr("x/two.txt", b"22")
    with LoopbackServer(web) as server:
        yield server


@pytest.fixture
def toy(server):
    """Three files: hash and size published, nothing published, an archive."""
    return manifest(
        ManifestFile("a.bin", (server.url_of("a.bin"),), bytes=len(CONTENT), sha256=sha(CONTENT)),
        ManifestFile("notes/b.txt", (server.url_of("b.txt"),)),
        ManifestFile("c.zip", (server.url_of("c.zip"),), sha256=sha((server.root / "c.zip").read_bytes()),
                     unpack="pairs"))


def names(files):
    return [file.path for file in files]


def test_a_data_set_arrives_is_recorded_and_left_alone_the_second_time(tmp_path, server, toy, monkeypatch):
    root = tmp_path / "data"
    result = fetch(toy, root, progress=False, options=QUICK)
    assert result.ok and result.complete and result.done == ("a.bin", "notes/b.txt", "c.zip")
    assert (root / "toy" / "a.bin").read_bytes() == CONTENT and (root / "toy" / "notes" / "b.txt").read_text() == "two"
    assert (root / "toy" / "pairs" / "x" / "two.txt").read_text() == "22"
    records = json.loads((root / "rsnb.lock.json").read_text())["files"]
    assert {k: (v["sha256"], v["trust"]) for k, v in records.items()} == {
        "toy/a.bin": (sha(CONTENT), "published"), "toy/notes/b.txt": (sha(b"two"), "first use"),
        "toy/c.zip": (toy.files[2].sha256, "published")}
    assert records["toy/a.bin"]["bytes"] == 100_000 and records["toy/a.bin"]["url"] == server.url_of("a.bin")
    assert records["toy/a.bin"]["mtime_ns"] == (root / "toy" / "a.bin").stat().st_mtime_ns

    monkeypatch.setattr(fetching, "sha256_of", lambda path: pytest.fail("a large file is not hashed again"))
    server.clear_log()
    assert fetch(toy, root, progress=False).complete and server.log == []
    todo = plan_fetch(toy, root)
    assert names(todo.present) == ["a.bin", "notes/b.txt", "c.zip"] and todo.bytes == 0
    assert not (todo.needed or todo.unverified or todo.to_unpack or todo.by_hand)


def test_the_plan_counts_what_is_missing_and_touches_nothing(tmp_path, server, toy):
    todo = plan_fetch(toy, tmp_path / "data")
    assert names(todo.needed) == ["a.bin", "notes/b.txt", "c.zip"] and names(todo.to_unpack) == ["c.zip"]
    assert (todo.bytes, todo.unknown, todo.resumed) == (100_000, 2, 0) and todo.fits and todo.free_bytes > 0
    assert "100 kB and 2 of unknown size" in todo.text() and str(tmp_path / "data" / "toy") in todo.text()
    assert not (tmp_path / "data").exists() and server.log == []
    (tmp_path / "data" / "toy").mkdir(parents=True)
    (tmp_path / "data" / "toy" / "a.bin.part").write_bytes(CONTENT[:30_000])
    todo = plan_fetch(toy, tmp_path / "data")
    assert (todo.bytes, todo.resumed) == (70_000, 30_000) and "30 kB are here from before" in todo.text()


def test_the_plan_names_the_licence_before_anything_is_fetched(tmp_path, toy):
    assert "\n  licence    CC0-1.0\n" in plan_fetch(toy, tmp_path).text()
    url = "https://example.org/terms"
    for licence, words in ((Licence("MIT", url), f"MIT, {url}"), (Licence(None, None, "Ask."), "Ask."),
                           (Licence(None), "none stated")):
        plan_ = plan_fetch(dataclasses.replace(toy, licence=licence, files=()), tmp_path)
        assert plan_.text().splitlines()[2:] == [f"  licence    {words}", "  nothing to do"]


def test_a_rounded_size_counts_in_the_plan_alone(tmp_path, server):
    about = manifest(ManifestFile("a.bin", (server.url_of("a.bin"),), bytes_about=97_700))
    todo = plan_fetch(about, tmp_path)
    assert (todo.bytes, todo.unknown) == (97_700, 0) and "about 97.7 kB" in todo.text()
    assert fetch(about, tmp_path, progress=False).complete


def test_what_does_not_fit_is_refused_before_anything_is_asked(tmp_path, server, toy, monkeypatch):
    monkeypatch.setattr(plan, "free_bytes", lambda path: 17_000_000 - 150_000)  # less than 16 MiB + 100 kB
    todo = plan_fetch(toy, tmp_path)
    assert not todo.fits and "DOES NOT FIT" in todo.text()
    monkeypatch.setattr("rsnb.data.download.disk.free_bytes", lambda path: 50_000)
    with pytest.raises(DiskError, match="what is missing of toy needs 100 kB, but 50 kB are free"):
        fetch(toy, tmp_path, progress=False)
    assert server.log == []


def test_where_one_file_fails_the_others_go_on(tmp_path, server, toy):
    server.use_faults(Fault("a.bin", "wrong_byte"))
    result = fetch(toy, tmp_path, progress=False, options=QUICK)
    assert not result.ok and result.done == ("notes/b.txt", "c.zip")
    (path, error), = result.failed
    assert path == "a.bin" and isinstance(error, ChecksumError) and sha(CONTENT) in result.text()
    assert "2 of 3 files verified" in result.text() and not (tmp_path / "toy" / "a.bin").exists()


def test_optional_files_come_only_when_asked_for(tmp_path, server, toy):
    some = dataclasses.replace(toy, files=(*toy.files[:2], dataclasses.replace(toy.files[2], optional=True)))
    todo = plan_fetch(some, tmp_path)
    assert names(todo.skipped) == ["c.zip"] and "optional   c.zip" in todo.text()
    assert fetch(some, tmp_path, progress=False, only=["*.zip"]).done == ("c.zip",)
    assert [r.path for r in server.log] == ["c.zip"]
    assert "  left out   a.bin, notes/b.txt" in plan_fetch(some, tmp_path, only=["*.zip"]).text()
    with pytest.raises(InputError, match=r"no file like \*\.tif") as error:
        plan_fetch(some, tmp_path, only=["*.tif"])
    assert "a.bin, notes/b.txt, c.zip" in error.value.mend


# ---- trust


def test_a_file_of_unknown_hash_is_trusted_once(tmp_path, server, toy):
    fetch(toy, tmp_path, progress=False)
    path = tmp_path / "toy" / "notes" / "b.txt"
    path.write_text("TWO")
    result = fetch(toy, tmp_path, progress=False)  # another time of modification: hashed again
    (_, error), = result.failed
    assert sha(b"TWO") in str(error) and sha(b"two") in str(error) and "first use" in str(error)
    assert path.read_text() == "TWO"
    path.unlink()
    (server.root / "b.txt").write_bytes(b"TWO")  # the publisher changed it
    result = fetch(toy, tmp_path, progress=False)
    (_, error), = result.failed
    assert sha(b"TWO") in str(error) and sha(b"two") in str(error) and "rsnb.lock.json" in error.mend
    assert not path.exists()
    (server.root / "b.txt").write_bytes(b"two")
    assert fetch(toy, tmp_path, progress=False).ok


def test_an_archive_that_cannot_be_unpacked_is_not_trusted(tmp_path, server):
    """Else the right one, which comes next, would be "another one than at its first use"."""
    content, asked = (server.root / "c.zip").read_bytes(), manifest(ManifestFile("c.zip", unpack="."), access="form")
    (tmp_path / "toy").mkdir()
    for bad in (b"<!DOCTYPE html>please log in", content[:-30]):
        (tmp_path / "toy" / "c.zip").write_bytes(bad)
        assert not fetch(asked, tmp_path, progress=False).ok and lock.read_records(tmp_path) == {}
    (tmp_path / "toy" / "c.zip").write_bytes(content)
    assert fetch(asked, tmp_path, progress=False).complete
    assert lock.read_records(tmp_path)["toy/c.zip"].sha256 == sha(content)


def test_a_file_touched_but_the_same_is_hashed_once(tmp_path, toy):
    fetch(toy, tmp_path, progress=False)
    path = tmp_path / "toy" / "a.bin"
    os.utime(path, (1, 1))
    assert names(plan_fetch(toy, tmp_path).unverified) == ["a.bin"]
    assert fetch(toy, tmp_path, progress=False).ok
    assert names(plan_fetch(toy, tmp_path).unverified) == []


def test_a_changed_byte_with_the_old_time_is_found_by_verify(tmp_path, toy):
    fetch(toy, tmp_path, progress=False)
    path = tmp_path / "toy" / "a.bin"
    stat = path.stat()
    path.write_bytes(b"\0" + CONTENT[1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fetch(toy, tmp_path, progress=False).ok
    result = fetch(toy, tmp_path, verify=True, progress=False)
    (name, error), = result.failed
    assert name == "a.bin" and sha(CONTENT) in str(error) and sha(b"\0" + CONTENT[1:]) in str(error)


def test_unpacked_files_are_verified_too(tmp_path, toy):
    fetch(toy, tmp_path, progress=False)
    path = tmp_path / "toy" / "pairs" / "x" / "two.txt"
    path.write_text("33")
    result = fetch(toy, tmp_path, verify=True, progress=False)
    assert [name for name, _ in result.failed] == ["c.zip"] and "x/two.txt" in result.text()
    path.unlink()
    assert fetch(toy, tmp_path, progress=False).ok and path.read_text() == "22"


def test_an_archive_may_go_once_it_is_unpacked(tmp_path, server, toy):
    fetch(toy, tmp_path, progress=False)
    (tmp_path / "toy" / "c.zip").unlink()
    server.clear_log()
    for verify in (False, True):
        assert fetch(toy, tmp_path, verify=verify, progress=False).complete and server.log == []
    newer = dataclasses.replace(toy, files=(dataclasses.replace(toy.files[2], sha256="0" * 64),))
    assert names(plan_fetch(newer, tmp_path).needed) == ["c.zip"]


def test_a_hash_that_is_published_later_decides(tmp_path, server, toy):
    fetch(toy, tmp_path, progress=False)
    for digest, ok in ((sha(b"two"), True), ("f" * 64, False)):
        later = dataclasses.replace(toy, files=(dataclasses.replace(toy.files[1], sha256=digest),))
        assert fetch(later, tmp_path, progress=False).ok is ok
    assert lock.read_records(tmp_path)["toy/notes/b.txt"].trust == "published"


def test_an_md5_is_enough_and_the_records_hold_sha256(tmp_path, server):
    good = manifest(ManifestFile("a.bin", (server.url_of("a.bin"),), md5=hashlib.md5(CONTENT).hexdigest()))
    assert fetch(good, tmp_path, progress=False).ok
    assert lock.read_records(tmp_path)["toy/a.bin"].sha256 == sha(CONTENT)
    os.utime(tmp_path / "toy" / "a.bin", (1, 1))
    assert fetch(good, tmp_path, progress=False).ok
    bad = manifest(ManifestFile("a.bin", (server.url_of("a.bin"),), md5="0" * 32))
    (_, error), = fetch(bad, tmp_path, verify=True, progress=False).failed
    assert "0" * 32 in str(error)


@pytest.mark.parametrize(("text", "words"), [
    ("{]", "damaged"), ('{"files": {}}', "damaged"), ('{"version": 9, "files": {}}', "version 9"),
    ('{"version": 1, "files": {"a": {"sha": 1}}}', "damaged"),
])
def test_damaged_records_are_named(tmp_path, toy, text, words):
    (tmp_path / "rsnb.lock.json").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        plan_fetch(toy, tmp_path)
    assert "rsnb.lock.json" in str(error.value) and error.value.mend


# ---- people


@pytest.fixture
def behind_a_form(server):
    content = (server.root / "c.zip").read_bytes()
    return manifest(ManifestFile("c.zip", bytes=len(content), sha256=sha(content), unpack="."), access="form",
                    ask="Fill the form, and state academic use.", endpoints={"form": "https://example.org/form"})


def test_a_form_is_explained_and_the_archive_then_taken(tmp_path, server, behind_a_form):
    result = fetch(behind_a_form, tmp_path, progress=False)
    assert result.ok and not result.complete and result.by_hand == ("c.zip",)
    text = result.plan.text()
    for words in ("Fill the form", "https://example.org/form", str(tmp_path / "toy"), "c.zip", "sha256",
                  "rsnb fetch toy"):
        assert words in text
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "c.zip").write_bytes((server.root / "c.zip").read_bytes())
    todo = plan_fetch(behind_a_form, tmp_path)
    assert names(todo.unverified) == ["c.zip"] == names(todo.to_unpack) and not todo.instructions
    result = fetch(behind_a_form, tmp_path, progress=False)
    assert result.complete and (tmp_path / "toy" / "x" / "two.txt").read_text() == "22" and server.log == []


def test_a_wrong_archive_from_a_person_stays_and_is_named(tmp_path, behind_a_form):
    (tmp_path / "toy").mkdir()
    path = tmp_path / "toy" / "c.zip"
    for content in (b"short", (b"x" * behind_a_form.files[0].bytes)):
        path.write_bytes(content)
        (_, error), = fetch(behind_a_form, tmp_path, progress=False).failed
        assert str(path) in str(error) and "not the published file" in str(error)
        assert "Move it away, and put the published one there" in str(error)
        assert os.listdir(tmp_path / "toy") == ["c.zip"]


@pytest.mark.parametrize("known", [{"sha256": sha(CONTENT)}, {"md5": hashlib.md5(CONTENT).hexdigest()}, {"bytes": 9}])
def test_a_wrong_file_in_place_of_a_download_is_named_with_what_helps(tmp_path, server, known):
    """Trying again or a mirror would not: a file that is there is never replaced."""
    toy = manifest(ManifestFile("a.bin", (server.url_of("a.bin"),), **known))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.bin").write_bytes(b"mine")
    (_, error), = fetch(toy, tmp_path, progress=False).failed
    assert error.mend == "Move it away, and fetch again" and server.log == []
    assert (tmp_path / "toy" / "a.bin").read_bytes() == b"mine"


def test_the_folder_that_drive_puts_around_everything_is_left_out(tmp_path):
    """"Download all" of a Drive folder gives a zip with that folder in it."""
    toy = manifest(ManifestFile("all.zip", unpack="."), ManifestFile("model.zip", unpack="cvusa"), access="drive",
                   ask="Open it.", tree={"lists.txt, more.txt": "lists", "scene_*/a": "x", "*/model.ckpt.*": "y"})
    (tmp_path / "toy").mkdir()
    for name, members in {"all.zip": ["Shared/lists.txt", "Shared/scene_0/a"],
                          "model.zip": ["PreTrained/model.ckpt.index"]}.items():
        with zipfile.ZipFile(tmp_path / "toy" / name, "w") as file:
            for member in members:
                file.writestr(member, "1")
    for _ in range(2):
        assert fetch(toy, tmp_path, verify=True, progress=False).complete
    found = {p.relative_to(tmp_path / "toy").as_posix() for p in (tmp_path / "toy").rglob("*") if p.is_file()}
    assert {name for name in found if "unpacked-" not in name} == {
        "all.zip", "model.zip", "lists.txt", "scene_0/a", "cvusa/model.ckpt.index"}


def test_a_form_without_known_files_and_a_folder_that_is_not_empty(tmp_path):
    asked = manifest(access="mail", ask="Write to nobody@example.org.")
    assert "put what you get into" in plan_fetch(asked, tmp_path).text()
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.jpg").write_text("x")
    assert "--audit" in plan_fetch(asked, tmp_path).text() and not fetch(asked, tmp_path).complete


@pytest.mark.parametrize(("changes", "words"), [
    ({"access": "built", "command": "rsnb city"}, "rsnb city"),
    ({"kind": "catalogue", "ask": "Needs a token.", "endpoints": {"search": "https://x.org/v1"}}, "https://x.org/v1"),
])
def test_what_is_not_fetched_says_what_to_do(tmp_path, changes, words):
    assert words in plan_fetch(manifest(**changes), tmp_path).text()
    assert fetch(manifest(**changes), tmp_path).complete and not (tmp_path / "toy").exists()


@pytest.mark.parametrize("path", ["../evil.zip", "/etc/evil", "a/../../b", "a\\b"])
def test_a_manifest_cannot_write_elsewhere(tmp_path, path):
    for file in (ManifestFile(path, ("http://127.0.0.1:9/x",)), ManifestFile("a.zip", (), unpack=path)):
        with pytest.raises(InputError, match="leads out"):
            plan_fetch(manifest(file), tmp_path)


# ---- Google Drive (gdown itself is a stand-in: nothing leaves this machine)


@pytest.mark.parametrize(("url", "found"), [
    ("https://drive.google.com/file/d/1AbC-dEf_gHiJk/view?usp=sharing", "1AbC-dEf_gHiJk"),
    ("https://drive.google.com/uc?export=download&id=1AbC-dEf_gHiJk", "1AbC-dEf_gHiJk"),
    ("https://drive.usercontent.google.com/download?id=1AbC-dEf_gHiJk&confirm=t", "1AbC-dEf_gHiJk"),
    ("https://drive.google.com/drive/folders/1AbC-dEf_gHiJk", None),
    ("https://example.org/?id=1AbC-dEf_gHiJk", None),
])
def test_ids_are_found_in_links_to_drive(url, found):
    assert drive_id_of(url) == found


@pytest.fixture
def drive(monkeypatch):
    """gdown as it behaves: bytes into `output`, or an error; the bytes can be set."""
    gdown = pytest.importorskip("gdown")
    calls = []

    class Stub:
        content, error = CONTENT, None

        def download(self, id, output, quiet, resume, timeout=None):
            options = {"quiet": quiet, "resume": resume, "timeout": timeout}
            calls.append((id, options))
            if self.error is not None:
                raise self.error
            with open(output, "wb") as file:
                file.write(self.content)
            return output

    stub = Stub()
    stub.calls = calls
    monkeypatch.setattr(gdown, "download", stub.download)
    return stub


def test_drive_files_are_verified_like_others(tmp_path, drive):
    on_drive = manifest(ManifestFile("a.bin", drive_id="1AbC-dEf_gHiJk", sha256=sha(CONTENT)), access="drive")
    assert fetch(on_drive, tmp_path, progress=False).complete
    assert drive.calls[0] == ("1AbC-dEf_gHiJk", {"quiet": True, "resume": True, "timeout": HttpOptions().timeout_s})
    assert sorted(os.listdir(tmp_path / "toy")) == ["a.bin"]
    linked = manifest(ManifestFile("b.bin", ("https://drive.google.com/file/d/1AbC-dEf_gHiJk/view",)), access="drive")
    assert fetch(linked, tmp_path, progress=False).complete and len(drive.calls) == 2


def test_a_file_with_an_address_and_an_id_tries_both_and_tells_of_both(tmp_path, server, drive):
    both = manifest(ManifestFile("a.bin", (server.url_of("a.bin"),), drive_id="1AbC-dEf_gHiJk"), access="drive")
    server.use_faults(Fault("*", "html"))
    drive.content = b"<html>quota</html>"
    (_, error), = fetch(both, tmp_path, progress=False, options=QUICK).failed
    assert "Quota exceeded" in error.what and "Google Drive sent a web page" in error.what
    assert "Wait a day" in error.mend
    drive.content = CONTENT
    assert fetch(both, tmp_path, progress=False, options=QUICK).complete
    os.remove(tmp_path / "toy" / "a.bin")
    drive.content = b"other"  # than at its first use
    (_, error), = fetch(both, tmp_path, progress=False, options=QUICK).failed
    assert isinstance(error, ChecksumError) and sha(b"other") in str(error) and sha(CONTENT) in str(error)


def test_what_a_killed_gdown_left_goes_when_a_person_brings_the_file(tmp_path):
    (tmp_path / "toy").mkdir()
    for name in ("a.bin", ".a.bin.drive", ".a.bin.drive1234abcd.part", ".other.bin.drive", "a.bin.part", "tmp1234abcd"):
        (tmp_path / "toy" / name).write_bytes(CONTENT if name == "a.bin" else b"" if name[0] == "t" else b"half")
    on_drive = manifest(ManifestFile("a.bin", drive_id="1AbC-dEf_gHiJk", sha256=sha(CONTENT)), access="drive")
    assert fetch(on_drive, tmp_path, progress=False).complete
    assert sorted(os.listdir(tmp_path / "toy")) == [".other.bin.drive", "a.bin"]


def test_a_gdown_without_patience_is_asked_all_the_same(tmp_path, drive, monkeypatch):
    import gdown

    monkeypatch.setattr(gdown, "download", lambda id, output, quiet, resume: drive.download(id, output, quiet, resume))
    assert download_from_drive("1AbC-dEf_gHiJk", tmp_path / "a.bin").sha256 == sha(CONTENT)


def test_a_page_about_the_quota_or_other_bytes_are_refused(tmp_path, drive):
    path = tmp_path / "a.zip"
    drive.content = b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>"
    with pytest.raises(DownloadError, match="web page") as error:
        download_from_drive("1AbC-dEf_gHiJk", path)
    assert "https://drive.google.com/file/d/1AbC-dEf_gHiJk/view" in error.value.mend and str(path) in error.value.mend
    drive.content = b"other"
    with pytest.raises(ChecksumError) as error:
        download_from_drive("1AbC-dEf_gHiJk", path, Expected(sha(CONTENT)))
    assert sha(b"other") in str(error.value) and sha(CONTENT) in str(error.value)
    assert os.listdir(tmp_path) == []


def test_drive_errors_are_one_sentence(tmp_path, drive):
    import gdown.exceptions
    import requests

    drive.error = gdown.exceptions.FileURLRetrievalError("Cannot retrieve the public link of the file.\nMaybe")
    with pytest.raises(DownloadError, match="Cannot retrieve the public link of the file") as error:
        download_from_drive("1AbC-dEf_gHiJk", tmp_path / "a.zip")
    assert "\n" not in str(error.value) and "Wait a day" in error.value.mend
    drive.error = requests.exceptions.ConnectionError("x")
    with pytest.raises(DownloadError, match="cannot be reached"):
        download_from_drive("1AbC-dEf_gHiJk", tmp_path / "a.zip")
