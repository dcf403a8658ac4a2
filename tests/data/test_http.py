"""Downloads against a server that breaks: what arrives is what was published, or an error that says what came."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import logging
import os
import random
import threading

import pytest

from rsnb.data.download import owners, parts, transfer
from rsnb.data.download.answers import DownloadError, show_url
from rsnb.data.download.disk import DiskError
from rsnb.data.download.http import ChecksumError, ResumingDownloader, download
from rsnb.data.download.loopback import Fault, LoopbackServer
from rsnb.data.download.transfer import HttpOptions
from rsnb.errors import InputError

CONTENT = random.Random(1).randbytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = HttpOptions(backoff_s=0.005, tries=3)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The loopback server is reached directly, whatever the machine's proxy is."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def served(tmp_path):
    """A server of a.bin, and a path to download it to."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.bin").write_bytes(CONTENT)
    with LoopbackServer(tmp_path / "web") as server:
        yield server, tmp_path / "out" / "a.bin"


def left(path):
    """What lies in the target's folder, sorted."""
    return sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []


def leave_part(path, size, **state):
    """What a killed process leaves: the first bytes, and what they are of."""
    path.parent.mkdir(parents=True)
    path.with_name("a.bin.part").write_bytes(CONTENT[:size])
    path.with_name("a.bin.part.json").write_text(json.dumps(state))


def test_a_file_arrives_whole_and_alone(served):
    server, path = served
    got = download(server.url_of("a.bin"), path, sha256=SHA.upper(), md5=MD5, bytes=len(CONTENT), options=QUICK)
    assert path.read_bytes() == CONTENT and left(path) == ["a.bin"]
    assert (got.path, got.sha256, got.bytes, got.url) == (path, SHA, len(CONTENT), server.url_of("a.bin"))
    assert [(r.method, r.start, r.status) for r in server.log] == [("GET", None, 200)]
    assert server.log[0].headers["accept-encoding"] == "identity"


def test_what_is_there_is_not_fetched_again(served):
    server, path = served
    for known in ({"sha256": SHA}, {"md5": MD5}, {"bytes": len(CONTENT)}, {}):
        assert download(server.url_of("a.bin"), path, options=QUICK, **known).sha256 == SHA
    assert len(server.log) == 1


def test_a_cut_connection_is_resumed_where_it_broke(served):
    server, path = served
    server.use_faults(Fault("*", "cut", at=100_000, times=2))
    download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK)
    first, second, third = server.log
    assert (first.start, second.start, third.start) == (None, 100_000, 200_000)
    assert second.headers["if-range"] == third.headers["if-range"] != ""
    assert sum(r.sent for r in server.log) == len(CONTENT)


def test_another_process_goes_on_with_the_part(served):
    server, path = served
    server.use_faults(Fault("*", "cut", at=120_000))
    with pytest.raises(DownloadError, match="broke off") as broken:
        download(server.url_of("a.bin"), path, options=HttpOptions(tries=1))
    assert "120 kB" in broken.value.mend and left(path) == ["a.bin.part", "a.bin.part.json"]
    assert path.with_name("a.bin.part").read_bytes() == CONTENT[:120_000]
    state = json.loads(path.with_name("a.bin.part.json").read_text())
    assert state["url"] == server.url_of("a.bin") and state["bytes"] == len(CONTENT) and state["etag"]
    server.use_faults()
    server.clear_log()
    assert download(server.url_of("a.bin"), path, options=QUICK).sha256 == SHA
    assert [(r.start, r.status, r.sent) for r in server.log] == [(120_000, 206, 180_000)]
    assert left(path) == ["a.bin"]


@pytest.mark.parametrize(("fault", "why"), [
    (Fault("*", "no_ranges"), "the server sends the whole file"),
    (Fault("*", "new_etag"), "the file has changed on the server"),
])
def test_a_server_that_starts_again_is_followed_with_one_warning(served, caplog, fault, why):
    server, path = served
    server.use_faults(Fault("*", "cut", at=100_000, times=1), Fault("*", fault.kind, after=1))
    with caplog.at_level(logging.WARNING):
        assert download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK).sha256 == SHA
    assert [r.message for r in caplog.records] == [
        f"a.bin: {server.url_of('a.bin')}: {why}; starting again from byte 0"]
    assert [(r.status, r.sent) for r in server.log] == [(200, 100_000), (200, len(CONTENT))]


def test_a_changed_file_is_noticed_where_the_server_ignores_if_range(served):
    server, path = served
    leave_part(path, 1000, url=server.url_of("a.bin"), etag='"old"', bytes=len(CONTENT))
    server.use_faults(Fault("*", "ignores_if_range"))
    assert download(server.url_of("a.bin"), path, options=QUICK).sha256 == SHA
    assert [(r.start, r.status) for r in server.log] == [(1000, 206), (None, 200)]


def test_the_part_of_a_file_that_changed_is_not_mixed_in(served):
    server, path = served
    leave_part(path, 1000, url=server.url_of("a.bin"), etag='"old"', bytes=5000)
    assert download(server.url_of("a.bin"), path, options=QUICK).sha256 == SHA
    assert server.log[0].status == 200  # If-Range did not match


@pytest.mark.parametrize("known", [{"sha256": SHA}, {"md5": MD5}])
def test_a_wrong_byte_is_named_with_both_hashes_and_leaves_nothing(served, known):
    server, path = served
    server.use_faults(Fault("*", "wrong_byte", at=70_000))
    wrong = bytearray(CONTENT)
    wrong[70_000] ^= 0xFF
    actual = hashlib.new(next(iter(known)), wrong).hexdigest()
    with pytest.raises(ChecksumError) as error:
        download(server.url_of("a.bin"), path, options=QUICK, **known)
    assert actual in str(error.value) and next(iter(known.values())) in str(error.value)
    assert error.value.actual == actual and left(path) == []


def test_a_part_without_condition_that_gives_a_mixture_is_dropped_once(served):
    server, path = served
    leave_part(path, 1000, url="http://elsewhere/a.bin")
    path.with_name("a.bin.part").write_bytes(b"x" * 1000)  # of another file
    assert download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK).sha256 == SHA
    assert [(r.start, r.status) for r in server.log] == [(1000, 206), (None, 200)]
    assert "if-range" not in server.log[0].headers


def test_an_older_file_stays_until_the_new_one_is_verified(served):
    server, path = served
    path.parent.mkdir()
    path.write_bytes(b"old")
    server.use_faults(Fault("*", "wrong_byte", at=5))
    with pytest.raises(ChecksumError):
        download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK)
    assert path.read_bytes() == b"old" and left(path) == ["a.bin"]
    server.use_faults(Fault("*", "status", at=404))
    with pytest.raises(DownloadError):
        download(server.url_of("a.bin"), path, bytes=len(CONTENT), options=QUICK)
    assert path.read_bytes() == b"old"
    server.use_faults()
    download(server.url_of("a.bin"), path, bytes=len(CONTENT), options=QUICK)
    assert path.read_bytes() == CONTENT and left(path) == ["a.bin"]


@pytest.mark.parametrize(("known", "words"), [
    ({}, "announced 300500 bytes and has 300000"),
    ({"bytes": len(CONTENT)}, "announces 300500 bytes, published are 300000"),
])
def test_a_lie_about_the_length_is_tried_again_and_then_told(served, known, words):
    server, path = served
    server.use_faults(Fault("*", "lies", at=500))
    with pytest.raises(DownloadError, match=words):
        download(server.url_of("a.bin"), path, options=QUICK, **known)
    assert not path.exists() and len(server.log) >= 2
    server.use_faults(Fault("*", "lies", at=500, times=1))
    assert download(server.url_of("a.bin"), path, options=QUICK, **known).sha256 == SHA


def test_a_lie_about_the_length_does_no_harm_where_a_hash_is_published(served):
    server, path = served
    server.use_faults(Fault("*", "lies", at=500))
    assert download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK).sha256 == SHA


def test_a_body_without_length_is_taken_and_a_published_size_still_checked(served):
    server, path = served
    server.use_faults(Fault("*", "no_length"))
    assert download(server.url_of("a.bin"), path, options=QUICK).sha256 == SHA
    with pytest.raises(DownloadError, match="300000 bytes came, 300001 were announced"):
        download(server.url_of("a.bin"), path.with_name("b.bin"), bytes=300_001,
                 options=HttpOptions(tries=1, backoff_s=0.005))


@pytest.mark.parametrize(("code", "mend"), [(401, "token"), (403, "account"), (404, "homepage"), (410, "gone")])
def test_a_refusal_is_not_asked_again(served, code, mend):
    server, path = served
    server.use_faults(Fault("*", "status", at=code))
    with pytest.raises(DownloadError, match=f"answers {code}") as error:
        download(server.url_of("a.bin"), path, options=QUICK)
    assert mend in error.value.mend and len(server.log) == 1 and left(path) == []


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_a_few_times(served, code):
    server, path = served
    server.use_faults(Fault("*", "status", at=code, times=2))
    assert download(server.url_of("a.bin"), path, options=QUICK).sha256 == SHA
    server.use_faults(Fault("*", "status", at=code))
    with pytest.raises(DownloadError, match=rf"answers {code} .*\(3 tries\)"):
        download(server.url_of("a.bin"), path.with_name("b.bin"), options=QUICK)


def test_retry_after_is_obeyed_as_number_and_as_date_but_not_for_ever(served, monkeypatch):
    server, path = served
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", lambda s: waits.append(s) if s > 0.2 else None)
    server.use_faults(Fault("*", "status", at=429, times=1, headers={"Retry-After": "7"}))
    download(server.url_of("a.bin"), path, options=QUICK)
    server.use_faults(Fault("*", "status", at=503, times=1, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}))
    download(server.url_of("a.bin"), path.with_name("b.bin"), options=QUICK)
    assert waits == [7.0]  # a date that is past is no wait
    server.use_faults(Fault("*", "status", at=429, headers={"Retry-After": "3600"}))
    with pytest.raises(DownloadError, match="asks to wait 3600 s"):
        download(server.url_of("a.bin"), path.with_name("c.bin"), options=QUICK)
    assert waits == [7.0]


def test_waits_double_and_vary(monkeypatch, tmp_path):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    with LoopbackServer(tmp_path, [Fault("*", "status", at=500)]) as server, pytest.raises(DownloadError):
        download(server.url_of("a.bin"), tmp_path / "a.bin", options=HttpOptions(tries=6, longest_wait_s=5.0))
    # 1, 2, 4, 8, 16 s, at most 5, each less up to a half
    assert len(waits) == 5
    assert all(top / 2 <= wait <= top for wait, top in zip(waits, (1, 2, 4, 5, 5), strict=True))


def test_a_web_page_in_place_of_data_is_told_with_its_title(served):
    server, path = served
    for known in ({}, {"sha256": SHA}, {"bytes": len(CONTENT)}):
        server.use_faults(Fault("*", "html"))
        server.clear_log()
        with pytest.raises(DownloadError, match="web page.*'Quota exceeded'") as error:
            download(server.url_of("a.bin"), path, options=QUICK, **known)
        assert "browser" in error.value.mend and len(server.log) == 1 and left(path) == []


def test_a_page_without_its_type_is_noticed_and_a_wanted_page_is_taken(served):
    server, path = served
    server.handler = lambda *_: (200, {"Content-Type": "application/zip"}, b"\xef\xbb\xbf \n<!DOCTYPE html><p>Log in")
    with pytest.raises(DownloadError, match="web page"):
        download(server.url_of("a.zip"), path, options=QUICK)
    page = path.with_name("terms.html")
    assert download(server.url_of("terms.html"), page, options=QUICK).bytes == len(page.read_bytes()) > 0
    server.handler = lambda *_: (200, {"Content-Type": "text/html"}, CONTENT)  # a careless server, a published hash
    assert download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK).sha256 == SHA


def test_mirrors_are_tried_in_turn_and_keep_the_part_where_a_hash_decides(served):
    server, path = served
    (server.root / "b.bin").write_bytes(CONTENT)
    urls = [server.url_of("none.bin"), server.url_of("a.bin"), server.url_of("b.bin")]
    server.use_faults(Fault("a.bin", "cut", at=90_000, times=1), Fault("a.bin", "status", at=404, after=1))
    got = download(urls, path, sha256=SHA, options=QUICK)
    assert got.url == urls[2] and path.read_bytes() == CONTENT
    assert [(r.path, r.start, r.status) for r in server.log] == [
        ("none.bin", None, 404), ("a.bin", None, 200), ("a.bin", None, 404), ("b.bin", 90_000, 206)]


def test_without_a_hash_a_mirror_starts_from_0(served):
    server, path = served
    (server.root / "b.bin").write_bytes(CONTENT[::-1])
    server.use_faults(Fault("a.bin", "cut", at=90_000))
    got = download([server.url_of("a.bin"), server.url_of("b.bin")], path, options=HttpOptions(tries=1))
    assert path.read_bytes() == CONTENT[::-1] and got.url.endswith("b.bin")


@pytest.mark.parametrize("known", [{}, {"bytes": len(CONTENT)}])
def test_a_whole_part_of_another_address_is_not_taken_for_the_file(served, known):
    server, path = served
    leave_part(path, 0, url="http://elsewhere/a.bin", etag='"x"', bytes=len(CONTENT))
    path.with_name("a.bin.part").write_bytes(CONTENT[::-1])
    assert download(server.url_of("a.bin"), path, options=QUICK, **known).sha256 == SHA


def test_a_weak_etag_is_no_condition_but_a_date_is(served):
    server, path = served
    date = "Thu, 01 Jan 1970 00:00:00 GMT"
    leave_part(path, 1000, url=server.url_of("a.bin"), etag='W/"x"', last_modified=date, bytes=len(CONTENT))
    download(server.url_of("a.bin"), path, options=QUICK)
    assert server.log[-1].headers["if-range"] == date and server.log[-1].status == 200  # another date: the whole file


def test_a_mirror_with_a_wrong_byte_is_passed_over_and_all_are_named_at_the_end(served, caplog):
    server, path = served
    (server.root / "b.bin").write_bytes(CONTENT)
    server.use_faults(Fault("a.bin", "wrong_byte"))
    urls = [server.url_of("a.bin"), server.url_of("b.bin")]
    assert download(urls, path, sha256=SHA, options=QUICK).url == urls[1]
    server.use_faults(Fault("a.bin", "wrong_byte"), Fault("b.bin", "status", at=403))
    with pytest.raises(ChecksumError) as error:
        download(urls, path.with_name("c.bin"), sha256=SHA, options=QUICK)
    assert SHA in str(error.value) and "403" in str(error.value)
    assert [r.message.partition(":")[0] for r in caplog.records if "next mirror" in r.message] == ["a.bin", "c.bin"]


@pytest.mark.parametrize(("url", "words"), [
    ("http://127.0.0.1:9/a.bin", "refuses the connection"),
    ("ftp://127.0.0.1/a.bin", "no address to download from"),
    ("a.bin", "no address to download from"),
])
def test_an_address_that_leads_nowhere(tmp_path, url, words):
    with pytest.raises(DownloadError, match=words):
        download(url, tmp_path / "out" / "a.bin", options=QUICK)
    assert left(tmp_path / "out" / "a.bin") == []


def test_no_address_at_all(tmp_path):
    with pytest.raises(InputError, match="no address"):
        download([], tmp_path / "a.bin")


def test_the_proxy_of_the_environment_is_used(served, monkeypatch):
    server, path = served
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    assert download("http://data.example/a.bin", path, options=QUICK).sha256 == SHA
    assert [r.headers["host"] for r in server.log] == ["data.example"]


def test_a_token_is_sent_but_never_written(served, caplog):
    server, path = served
    server.use_faults(Fault("*", "cut", at=1000))
    options = HttpOptions(tries=1, headers={"Authorization": "Bearer SECRET1"})
    url = server.url.replace("//", "//user:SECRET3@") + "/a.bin?sig=SECRET2"
    with caplog.at_level(logging.DEBUG, "rsnb"), pytest.raises(DownloadError) as error:
        download(url, path, options=options)
    assert server.log[0].headers["authorization"] and server.log[0].query == "sig=SECRET2"
    written = "".join(p.read_text("latin1") for p in path.parent.iterdir() if p.suffix == ".json")
    assert "a.bin" in written and "SECRET" not in written + str(error.value) + caplog.text + repr(options)
    assert show_url("https://u:p@host.org:8443/a/b.zip?token=1#x") == "https://host.org:8443/a/b.zip"


def test_a_full_disk_keeps_the_part_and_says_so(served, monkeypatch):
    server, path = served
    real_open, room = open, [100_000]

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, view):
            count = min(len(view), room[0])
            if count == 0:
                raise OSError(28, os.strerror(28))
            room[0] -= count
            return self.file.write(view[:count])

    monkeypatch.setattr(transfer, "open", lambda p, mode, **more: Full(real_open(p, mode, **more)) if mode == "ab"
                        else real_open(p, mode, **more), raising=False)
    with pytest.raises(DiskError, match="the disk is full") as error:
        download([server.url_of("a.bin"), server.url_of("a.bin")], path, options=QUICK)
    assert str(path) in str(error.value) and "100 kB" in str(error.value) and not path.exists()
    assert path.with_name("a.bin.part").read_bytes() == CONTENT[:100_000] and len(server.log) == 1
    room[0] = 10**9
    assert download(server.url_of("a.bin"), path, options=QUICK).sha256 == SHA
    assert server.log[1].start == 100_000


def test_what_cannot_fit_is_refused_before_the_first_byte(served, monkeypatch):
    server, path = served
    from rsnb.data.download import disk

    monkeypatch.setattr(disk, "free_bytes", lambda p: disk.MARGIN + 299_999)
    with pytest.raises(DiskError, match="300 kB.*free") as error:
        download(server.url_of("a.bin"), path, options=QUICK)
    assert str(path) in str(error.value) and left(path) == []


def test_a_folder_that_cannot_be_made_is_named(served, tmp_path):
    server, _ = served
    (tmp_path / "file").write_text("x")
    with pytest.raises(DiskError, match="cannot be written") as error:
        download(server.url_of("a.bin"), tmp_path / "file" / "a.bin", options=QUICK)
    assert "RSNB_DATA" in error.value.mend and not server.log
    with pytest.raises(DiskError):
        download(server.url_of("a.bin"), "/proc/none/a.bin", options=QUICK)


def test_a_packed_answer_is_unpacked_unless_the_file_itself_is_packed(tmp_path):
    import gzip

    packed = gzip.compress(CONTENT)
    with LoopbackServer(tmp_path, handler=None) as server:
        (tmp_path / "a.csv").write_bytes(packed)
        (tmp_path / "a.csv.gz").write_bytes(packed)
        plain = server._server.RequestHandlerClass.send_header

        class Packs(server._server.RequestHandlerClass):
            def end_headers(self):
                plain(self, "Content-Encoding", "gzip")
                super().end_headers()

        server._server.RequestHandlerClass = Packs
        assert download(server.url_of("a.csv"), tmp_path / "o" / "a.csv", options=QUICK).sha256 == SHA
        download(server.url_of("a.csv.gz"), tmp_path / "o" / "a.csv.gz", options=QUICK)
        assert (tmp_path / "o" / "a.csv.gz").read_bytes() == packed


def test_chunked_answers_are_read_and_a_cut_one_is_noticed(tmp_path):
    cut = [True]

    class Chunked(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(CONTENT), 50_000):
                self.wfile.write(b"c350\r\n" + CONTENT[start:start + 50_000] + b"\r\n")  # 0xc350 = 50 000
                if cut.pop() if cut else False:
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chunked)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        got = download(f"http://127.0.0.1:{server.server_port}/a.bin", tmp_path / "a.bin", options=QUICK)
        assert got.sha256 == SHA and not cut
    finally:
        server.shutdown()
        server.server_close()


def test_the_bar_counts_the_bytes_that_were_there_before(served, capsys):
    server, path = served
    leave_part(path, 150_000, url=server.url_of("a.bin"), etag=None, last_modified=None, bytes=len(CONTENT))
    download(server.url_of("a.bin"), path, sha256=SHA, options=HttpOptions(progress=True))
    shown = capsys.readouterr().err
    assert "a.bin:  50%" in shown and "a.bin: 100%" in shown and "300k/300k" in shown


def test_an_empty_file_is_a_file(served):
    server, path = served
    (server.root / "empty").write_bytes(b"")
    assert download(server.url_of("empty"), path, options=QUICK).bytes == 0
    assert left(path) == ["a.bin"]


# ---- pooch


def test_it_is_a_downloader_for_any_pooch(served):
    import pooch

    server, path = served
    server.use_faults(Fault("*", "cut", at=100_000, times=1))
    retrieved = pooch.retrieve(server.url_of("a.bin"), f"sha256:{SHA}", "a.bin", path.parent,
                               downloader=ResumingDownloader(path, options=QUICK))
    assert open(retrieved, "rb").read() == CONTENT and left(path) == ["a.bin"]
    box = pooch.create(path.parent / "box", f"{server.url}/", registry={"a.bin": SHA})
    leave_part(path.parent / "box" / "a.bin", 1000, url=server.url_of("a.bin"), last_modified="x", bytes=len(CONTENT))
    assert open(box.fetch("a.bin", downloader=ResumingDownloader(options=QUICK)), "rb").read() == CONTENT
    assert sorted(os.listdir(path.parent / "box")) == ["a.bin"]
    assert box.is_available("a.bin", downloader=ResumingDownloader(options=QUICK))
    server.use_faults(Fault("*", "status", at=404))
    assert not box.is_available("a.bin", downloader=ResumingDownloader(options=QUICK))


def test_a_kill_while_pooch_hashes_loses_nothing(served, monkeypatch):
    import pooch.core

    server, path = served

    class Killed(BaseException):
        pass

    def killed(*words, **more):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(pooch.core, "hash_matches", killed)
        with pytest.raises(Killed):
            download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK)
    assert "a.bin.part" in left(path)
    (path.parent / "tmpkilled_1").hardlink_to(path.with_name("a.bin.part"))  # pooch's own name for it
    assert download(server.url_of("a.bin"), path, sha256=SHA, options=QUICK).sha256 == SHA
    assert len(server.log) == 1 and left(path) == ["a.bin"]


# ---- claims


def test_a_claim_hides_the_part_and_hands_it_back(tmp_path):
    target = tmp_path / "a.bin"
    with parts.claim(target) as part:
        part.begin({"url": "x"})
        part.path.write_bytes(b"abc")
        assert part.path.name.startswith("a.bin.part.") and not (tmp_path / "a.bin.part").exists()
        with pytest.raises(parts.BusyError, match="another thread is downloading"), parts.claim(target, wait_s=0):
            pass
    assert (tmp_path / "a.bin.part").read_bytes() == b"abc"
    with parts.claim(target) as part:
        assert part.size == 3 and part.state == {"url": "x", "sure": True} and not part.waited
        part.discard()
    assert left(target) == []


def test_the_longest_part_of_the_dead_is_taken_over_and_the_rest_swept(tmp_path):
    target = tmp_path / "a.bin"
    host, pid, _, _ = owners.new_tag().split("-")
    (tmp_path / "a.bin.part").write_bytes(b"1")
    for token, size in (("aaaaaaaa", 3), ("bbbbbbbb", 2)):
        (tmp_path / f"a.bin.part.{host}-{pid}-1-{token}").write_bytes(b"1" * size)
    (tmp_path / f"a.bin.part.{host}-99999999-1-cccccccc").write_bytes(b"")
    (tmp_path / "a.bin.part.json").write_text("{]")
    with parts.claim(target) as part:
        assert part.size == 3 and part.state == {}
    assert left(target) == ["a.bin.part", "a.bin.part.json"]


def test_a_process_of_another_machine_lives_while_it_writes(tmp_path):
    claim = tmp_path / "a.bin.part.elsewhere-1-1-aaaaaaaa"
    claim.write_bytes(b"1")
    assert owners.is_alive("elsewhere-1-1-aaaaaaaa", claim)
    os.utime(claim, (1, 1))
    assert not owners.is_alive("elsewhere-1-1-aaaaaaaa", claim)


def test_messages_name_who_is_at_it():
    assert owners.who("elsewhere-12-1-aaaaaaaa") == "process 12 on elsewhere"
    host = owners.new_tag().split("-")[0]
    assert owners.who(f"{host}-{os.getppid()}-1-aaaaaaaa") == f"process {os.getppid()}"


def test_a_process_number_given_out_again_is_not_the_old_process(tmp_path):
    tag = owners.new_tag()
    host, _, start, token = tag.split("-")
    assert owners.is_alive(tag, tmp_path)
    owners.release(tag)
    assert not owners.is_alive(tag, tmp_path)
    parent = f"{host}-{os.getppid()}-{owners._start(os.getppid())}-{token}"
    assert owners.is_alive(parent, tmp_path)
    assert not owners.is_alive(f"{host}-{os.getppid()}-{start}0-{token}", tmp_path)


@pytest.mark.parametrize("locks", ["work", "let everybody in"])
def test_threads_download_once_or_at_least_right(served, monkeypatch, locks):
    """Some network file systems grant every lock at once (huggingface_hub left locks for that): then bytes may be
    fetched twice, but never two writers meet in one part."""
    server, path = served
    if locks != "work":
        monkeypatch.setattr(parts, "_locked", lambda target: contextlib.nullcontext())
    server.use_faults(Fault("*", "slow", at=2_000_000))
    got, errors = [], []

    def work():
        try:
            got.append(download(server.url_of("a.bin"), path, options=QUICK))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and {d.sha256 for d in got} == {SHA}
    assert left(path) == ["a.bin"] and path.read_bytes() == CONTENT
    if locks == "work":
        assert sum(r.sent for r in server.log) == len(CONTENT)
