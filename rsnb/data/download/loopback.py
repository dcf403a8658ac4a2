"""A small web server on this machine that serves a folder, and breaks in the ways that real servers break.

Notebook 01 and the tests fetch from it: byte ranges (RFC 9110, sections 13 and 14), ETag, Last-Modified and If-Range
are right unless a `Fault` says otherwise, and a log counts the bytes that were really sent.
"""

from __future__ import annotations

import io
import mimetypes
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote, unquote, urlsplit

FaultKind = Literal["cut", "status", "no_ranges", "ignores_if_range", "wrong_byte", "lies", "no_length", "html",
                    "new_etag", "slow"]
Answer = tuple[int, Mapping[str, str], bytes]
Handler = Callable[[str, str, Mapping[str, str], bytes], Answer | None]

PIECE = 16 * 1024  # bytes a write: small, so that little lies in socket buffers when a client is killed
QUOTA_PAGE = (b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head><body>Sorry, you can't view or download "
              b"this file at this time. Too many users have viewed or downloaded this file recently.</body></html>")


@dataclass(frozen=True)
class Fault:
    """One way in which the server misbehaves.

    Attributes:
        path: glob over paths relative to the root, such as "*.zip".
        kind: "cut" (the connection closes after `at` bytes of a body), "status" (answers with code `at`), "no_ranges"
            (Range is ignored: 200 and everything), "ignores_if_range" (answers 206 although the ETag is another one),
            "wrong_byte" (the byte at offset `at` of the file is flipped), "lies" (Content-Length is `at` bytes larger
            than the body), "no_length" (no Content-Length; the end of the connection is the end of the file), "html"
            (200 with a page about a quota), "new_etag" (another ETag than before), or "slow" (`at` bytes a second).
        at: see `kind`.
        times: so many matching requests are hit; None for all.
        after: so many matching requests go right before that.
        headers: sent along, such as {"Retry-After": "1"}.
    """

    path: str
    kind: FaultKind
    at: int = 0
    times: int | None = None
    after: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """A line of the log.

    Attributes:
        method: "GET", "HEAD", "POST" ...
        path: relative to the root, decoded, without query.
        start, stop: bytes of the file that were asked for and granted, stop exclusive; None without a Range.
        status: that was answered.
        sent: bytes of the body that were handed to the network.
        query: what stood behind the question mark.
        headers: of the request, names in lower case.
    """

    method: str
    path: str
    start: int | None = None
    stop: int | None = None
    status: int = 0
    sent: int = 0
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class LoopbackServer:
    """Serve a folder on 127.0.0.1 while the `with` block runs.

    Args:
        root: the folder.
        faults: what goes wrong; for a request the first of each kind that matches is taken.
        handler: asked first with (method, path with query, headers, body); its (status, headers, body) is sent, and
            None means that the folder answers. Ranges and faults work on its bodies too.
        port: 0 takes a free one.
    """

    def __init__(self, root: str | Path, faults: Sequence[Fault] = (), handler: Handler | None = None, port: int = 0):
        self.root, self.faults, self.handler = Path(root).resolve(), tuple(faults), handler
        self._log: list[Request] = []
        self._matched = [0] * len(self.faults)
        self._idle = threading.Condition()
        self._under_way = 0
        self._server = _Server(("127.0.0.1", port), _Respond)
        self._server.loopback = self

    def __enter__(self) -> LoopbackServer:
        # a short poll, because leaving the block waits for it
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """http://127.0.0.1:port, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url_of(self, path: str | Path) -> str:
        """URL of a file, its path relative to the root."""
        return f"{self.url}/{quote(Path(path).as_posix())}"

    @property
    def log(self) -> list[Request]:
        """All requests so far, once those under way are answered (a second is waited for them at most)."""
        with self._idle:
            self._idle.wait_for(lambda: self._under_way == 0, timeout=1.0)
            return list(self._log)

    def requests(self, path: str = "*", method: str | None = None) -> list[Request]:
        """Those for paths that fit a glob, and of one method if it is given."""
        path = path.lstrip("/")
        return [r for r in self.log if fnmatchcase(r.path, path) and method in (None, r.method)]

    def clear_log(self) -> None:
        """Forget the requests so far; faults keep their counts."""
        with self._idle:
            self._log.clear()

    def use_faults(self, *faults: Fault) -> None:
        """Misbehave like this from now on, counted from 0."""
        with self._idle:
            self.faults, self._matched = faults, [0] * len(faults)

    @contextmanager
    def _answering(self, request: Request):
        with self._idle:
            self._under_way += 1
            self._log.append(request)
        try:
            yield self._faults_for(request.path)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _faults_for(self, path: str) -> dict[str, Fault]:
        found: dict[str, Fault] = {}
        with self._idle:
            for i, fault in enumerate(self.faults):
                if not fnmatchcase(path, fault.path):
                    continue
                self._matched[i] += 1
                turn = self._matched[i] - fault.after
                if turn >= 1 and (fault.times is None or turn <= fault.times):
                    found.setdefault(fault.kind, fault)
        return found


@dataclass
class _Resource:
    """What lies behind a path: its bytes, and what is known about them."""

    body: BinaryIO
    size: int
    headers: dict[str, str]
    status: int = 200


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    loopback: LoopbackServer

    def server_bind(self) -> None:
        # HTTPServer asks the name service for this machine's name, which may take seconds; nothing needs it
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address) -> None:
        """A client that went away is what this server is for."""


class _Respond(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed acknowledgement
    timeout = 60
    server: _Server

    def log_message(self, *words) -> None:
        """Silent: the log is `LoopbackServer.log`."""

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, unquote(target.path).lstrip("/"), query=target.query, headers=headers)
        body = self.rfile.read(int(headers.get("content-length") or 0))
        with self.server.loopback._answering(request) as faults:
            resource = self._failing(faults) or self._handled(headers, body) or self._file(request.path)
            try:
                self._send(request, resource, faults)
            except (ConnectionError, TimeoutError):
                self.close_connection = True
            finally:
                resource.body.close()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _failing(self, faults: dict[str, Fault]) -> _Resource | None:
        if "status" in faults:
            return _text(faults["status"].at, f"this is a fault: {faults['status'].at}\n")
        if "html" in faults:
            return _Resource(io.BytesIO(QUOTA_PAGE), len(QUOTA_PAGE), {"Content-Type": "text/html; charset=utf-8"})
        return None

    def _handled(self, headers: Mapping[str, str], body: bytes) -> _Resource | None:
        handler = self.server.loopback.handler
        answer = handler(self.command, self.path, headers, body) if handler else None
        if answer is None:
            return None
        status, extra, content = answer
        return _Resource(io.BytesIO(content), len(content), dict(extra), status)

    def _file(self, path: str) -> _Resource:
        if self.command not in ("GET", "HEAD"):
            return _text(405, "only GET and HEAD\n")
        root = self.server.loopback.root
        found = (root / path).resolve()
        if found.is_dir():
            found = found / "index.html"
        if not found.is_relative_to(root) or not found.is_file():
            return _text(404, f"there is no {path}\n")
        stat = found.stat()
        kind = mimetypes.guess_type(found.name, strict=False)[0] or "application/octet-stream"
        return _Resource(open(found, "rb"), stat.st_size, {
            "Content-Type": kind, "ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
            "Last-Modified": formatdate(int(stat.st_mtime), usegmt=True)})

    def _send(self, request: Request, resource: _Resource, faults: dict[str, Fault]) -> None:
        if "new_etag" in faults:
            resource.headers["ETag"] = f'"{uuid.uuid4().hex}"'
        ranged = resource.status == 200 and "no_ranges" not in faults and "html" not in faults
        start, stop, status = 0, resource.size, resource.status
        if ranged and self.command in ("GET", "POST"):
            window = _window(request.headers, resource, "ignores_if_range" in faults)
            if window is not None:
                start, stop = request.start, request.stop = window
                status = 206 if start < stop else 416
        request.status = status
        self.send_response_only(status)
        for name, value in resource.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "content-encoding", "connection"):
                self.send_header(name, value)
        for fault in faults.values():
            for name, value in fault.headers.items():
                self.send_header(name, value)
        if ranged:
            self.send_header("Accept-Ranges", "bytes")
        if status in (206, 416):
            span = f"{start}-{stop - 1}" if status == 206 else "*"
            self.send_header("Content-Range", f"bytes {span}/{resource.size}")
        lie = faults["lies"].at or 1000 if "lies" in faults else 0
        if "no_length" not in faults:
            self.send_header("Content-Length", str(stop - start + lie))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(request, resource, (start, stop), faults)
        if lie or "no_length" in faults:
            self._hang_up()

    def _send_body(self, request: Request, resource: _Resource, window: tuple[int, int],
                   faults: dict[str, Fault]) -> None:
        start, stop = window
        cut = start + faults["cut"].at if "cut" in faults else None
        wrong = faults["wrong_byte"].at if "wrong_byte" in faults else -1
        until = stop if cut is None else min(cut, stop)
        resource.body.seek(start)
        while start < until:
            piece = bytearray(resource.body.read(min(PIECE, until - start)))
            if not piece:
                break
            if start <= wrong < start + len(piece):
                piece[wrong - start] ^= 0xFF
            view = memoryview(piece)
            while view:
                count = self.connection.send(view)  # not wfile: only this tells how much really went out
                request.sent += count
                view = view[count:]
            start += len(piece)
            if "slow" in faults:
                time.sleep(len(piece) / max(faults["slow"].at, 1))
        if until < stop:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _text(status: int, text: str) -> _Resource:
    body = text.encode()
    return _Resource(io.BytesIO(body), len(body), {"Content-Type": "text/plain; charset=utf-8"}, status)


def _window(headers: Mapping[str, str], resource: _Resource, ignore_condition: bool) -> tuple[int, int] | None:
    """[start, stop) of a Range header, empty if it lies outside, None where the whole body is due."""
    unit, _, spans = headers.get("range", "").partition("=")
    if unit.strip().lower() != "bytes" or spans.count("-") != 1:  # several ranges: a server may send everything
        return None
    condition = headers.get("if-range")
    if condition and not ignore_condition:
        validators = (resource.headers.get("ETag"), resource.headers.get("Last-Modified"))
        if condition not in validators or condition.startswith("W/"):
            return None
    first, last = (part.strip() for part in spans.split("-"))
    if not (first + last).isdecimal():
        return None
    if not first:
        return max(resource.size - int(last), 0), resource.size
    start, stop = int(first), min(int(last) + 1 if last else resource.size, resource.size)
    if last and int(last) < int(first):
        return None
    return (start, stop) if start < resource.size else (start, start)
