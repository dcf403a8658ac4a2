"""The loopback server against clients that are not ours: http.client, requests, GDAL."""

from __future__ import annotations

import http.client
import os
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest

from rsnb.data.download.loopback import Fault, LoopbackServer

LETTERS = b"abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "letters.bin").write_bytes(LETTERS)
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "a b.json").write_text("{}")
    return tmp_path


def ask(server, path="/letters.bin", method="GET", body=None, **headers):
    """(status, headers, body) as http.client sees them."""
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]), timeout=10)
    connection.request(method, path, body=body, headers={name.replace("_", "-"): v for name, v in headers.items()})
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_file_comes_whole_with_its_headers(folder):
    with LoopbackServer(folder) as server:
        status, headers, body = ask(server)
        assert (status, body) == (200, LETTERS)
        assert headers["Content-Length"] == "26" and headers["Accept-Ranges"] == "bytes"
        assert headers["ETag"].startswith('"') and headers["Last-Modified"].endswith("GMT")
        status, headers, body = ask(server, method="HEAD")
        assert (status, headers["Content-Length"], body) == (200, "26", b"")
        assert ask(server, "/sub%20dir/a%20b.json")[1]["Content-Type"] == "application/json"
        assert urllib.request.urlopen(server.url_of("sub dir/a b.json")).read() == b"{}"
    with pytest.raises(OSError):
        ask(server)


# RFC 9110, 14.1.2 and 14.2: first-last inclusive, first-, -suffix; a last behind the end is the end; a suffix longer
# than the file is the whole of it; a first behind the end is 416; something that is no range is passed over.
@pytest.mark.parametrize(("asked", "status", "body", "span"), [
    ("bytes=0-0", 206, b"a", "bytes 0-0/26"),
    ("bytes=2-4", 206, b"cde", "bytes 2-4/26"),
    ("bytes=23-", 206, b"xyz", "bytes 23-25/26"),
    ("bytes=24-99", 206, b"yz", "bytes 24-25/26"),
    ("bytes=-2", 206, b"yz", "bytes 24-25/26"),
    ("bytes=-99", 206, LETTERS, "bytes 0-25/26"),
    ("bytes=26-", 416, b"", "bytes */26"),
    ("bytes=-0", 416, b"", "bytes */26"),
    ("bytes=5-3", 200, LETTERS, None),
    ("bytes=a-b", 200, LETTERS, None),
    ("lines=1-2", 200, LETTERS, None),
    ("bytes=0-1,4-5", 200, LETTERS, None),
])
def test_ranges_are_those_of_the_rfc(folder, asked, status, body, span):
    with LoopbackServer(folder) as server:
        found = ask(server, Range=asked)
        assert (found[0], found[2], found[1]["Content-Range"]) == (status, body, span)
        assert found[1]["Content-Length"] == str(len(body))


def test_if_range_gives_the_rest_only_of_the_same_file(folder):
    with LoopbackServer(folder) as server:
        _, headers, _ = ask(server, method="HEAD")
        for same in (headers["ETag"], headers["Last-Modified"]):
            assert ask(server, Range="bytes=20-", If_Range=same)[0] == 206
        (folder / "letters.bin").write_bytes(LETTERS.upper())
        os.utime(folder / "letters.bin", (1, 1))
        for other in (headers["ETag"], headers["Last-Modified"], "W/" + headers["ETag"]):
            status, _, body = ask(server, Range="bytes=20-", If_Range=other)
            assert (status, body) == (200, LETTERS.upper())


def test_the_log_tells_what_was_asked_and_sent(folder):
    with LoopbackServer(folder) as server:
        ask(server, Range="bytes=2-4")
        ask(server, "/letters.bin?key=1", method="HEAD")
        ask(server, "/none")
        first, second, third = server.log
        assert (first.method, first.path, first.start, first.stop, first.status, first.sent) == (
            "GET", "letters.bin", 2, 5, 206, 3)
        assert (second.method, second.query, second.start, second.sent) == ("HEAD", "key=1", None, 0)
        assert third.status == 404
        assert len(server.requests("/letters.bin")) == 2 == len(server.requests("*.bin"))
        assert len(server.requests("*.bin", method="GET")) == 1
        server.clear_log()
        assert server.log == []


def test_nothing_outside_the_root_is_served(folder):
    (folder.parent / "secret.txt").write_text("x")
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    with LoopbackServer(folder) as server:
        for path in ("/../secret.txt", "/sub%20dir/../../secret.txt", "/%2e%2e/secret.txt", "/link", "/"):
            assert ask(server, path)[0] == 404
        assert ask(server, method="POST", body=b"x")[0] == 405


def test_a_handler_answers_first_and_its_bodies_have_ranges_too(folder):
    seen = []

    def handler(method, path, headers, body):
        seen.append((method, path, headers.get("x-key"), body))
        if method == "POST":
            return 201, {"Content-Type": "application/json", "Content-Length": "999"}, b'{"a": 1}'
        return (200, {}, LETTERS) if path == "/made" else None

    with LoopbackServer(folder, handler=handler) as server:
        status, headers, body = ask(server, "/search?x=1", method="POST", body=b"question", x_key="k")
        assert (status, headers["Content-Type"], body) == (201, "application/json", b'{"a": 1}')
        assert seen == [("POST", "/search?x=1", "k", b"question")]
        assert ask(server, "/made", Range="bytes=0-1")[2] == b"ab"
        assert ask(server)[2] == LETTERS


def test_cut_closes_the_connection_after_so_many_bytes(folder):
    with LoopbackServer(folder, [Fault("*.bin", "cut", at=10, times=1)]) as server:
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(server)
        assert cut.value.partial == LETTERS[:10] and server.log[0].sent == 10
        assert ask(server)[2] == LETTERS


@pytest.mark.parametrize(("fault", "check"), [
    (Fault("*", "status", at=503, headers={"Retry-After": "7"}),
     lambda status, headers, body: status == 503 and headers["Retry-After"] == "7"),
    (Fault("*", "no_ranges"),
     lambda status, headers, body: status == 200 and body == LETTERS and headers["Accept-Ranges"] is None),
    (Fault("*", "wrong_byte", at=21),
     lambda status, headers, body: status == 206 and body == b"u" + bytes([ord("v") ^ 0xFF]) + b"wxyz"),
    (Fault("*", "html"),
     lambda status, headers, body: status == 200 and "html" in headers["Content-Type"] and b"Quota" in body),
    (Fault("*", "no_length"),
     lambda status, headers, body: status == 206 and headers["Content-Length"] is None and body == LETTERS[20:]),
])
def test_faults_show(folder, fault, check):
    with LoopbackServer(folder, [fault]) as server:
        assert check(*ask(server, Range="bytes=20-"))


def test_a_lie_about_the_length_shows_as_a_short_body(folder):
    with LoopbackServer(folder, [Fault("*", "lies", at=5)]) as server:
        with pytest.raises(http.client.IncompleteRead) as short:
            ask(server)
        assert short.value.partial == LETTERS and short.value.expected == 5


def test_a_new_etag_ends_a_resume_unless_the_server_ignores_if_range(folder):
    with LoopbackServer(folder, [Fault("*", "new_etag", after=1)]) as server:
        etag = ask(server)[1]["ETag"]
        assert ask(server, Range="bytes=20-", If_Range=etag)[0] == 200
        server.use_faults(Fault("*", "new_etag"), Fault("*", "ignores_if_range"))
        status, headers, _ = ask(server, Range="bytes=20-", If_Range=etag)
        assert status == 206 and headers["ETag"] != etag


def test_times_and_after_count_the_matching_requests(folder):
    (folder / "other.txt").write_text("x")
    with LoopbackServer(folder, [Fault("*.bin", "status", at=500, times=2, after=1)]) as server:
        assert [ask(server, p)[0] for p in ("/letters.bin", "/other.txt", *["/letters.bin"] * 3)] == [
            200, 200, 500, 500, 200]


def test_one_connection_serves_many_requests(folder):
    with LoopbackServer(folder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]), timeout=10)
        connection.connect()
        kept: socket.socket = connection.sock
        for start in range(3):
            connection.request("GET", "/letters.bin", headers={"Range": f"bytes={start}-"})
            assert connection.getresponse().read() == LETTERS[start:] and connection.sock is kept
        connection.close()


def test_gdal_reads_a_window_by_ranges(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(0, 4000, (1024, 1024)).astype(np.uint16)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=1024, height=1024, count=1, dtype="uint16",
                       tiled=True, blockxsize=128, blockysize=128, compress="deflate",
                       transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), crs="EPSG:32633") as file:
        file.write(values, 1)
    with LoopbackServer(tmp_path) as server, rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", VSI_CACHE="FALSE"):
        with rasterio.open(f"/vsicurl/{server.url}/a.tif") as file:
            window = file.read(1, window=rasterio.windows.Window(256, 512, 128, 128))
        assert np.array_equal(window, values[512:640, 256:384])
        assert all(r.status in (200, 206) for r in server.log) and any(r.status == 206 for r in server.log)
        assert sum(r.sent for r in server.log) < (tmp_path / "a.tif").stat().st_size / 4
