"""A Hugging Face hub of our own, on the loopback: the part of its API that fetching a model uses.

    with Hub() as hub:
        hub.repositories["owner/name"] = {"config.json": b"{}", "model.safetensors": weights}

Files ending in .safetensors are redirected to another host name, as the hub does with large files.
What goes wrong is a test's choice: `drop_after`, `stall_after`, `wrong`, `status`, `has_ranges`.
"""

import hashlib
import http.server
import json
import threading
import time
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    def __init__(self):
        self.repositories = {}
        self.token = None  # what a client must show, if anything
        self.status = {}  # file or repository: the HTTP status instead of it
        self.drop_after = []  # bytes after which the next transfers of weights break off
        self.stall_after = None  # bytes after which weights come no more
        self.slow_s = 0.0  # after each 64 KiB of weights
        self.wrong = set()  # files whose bytes are not what the listing says
        self.has_ranges = True
        self.asked = []  # (host, path, headers)

    def __enter__(self):
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def transfers(self, name):
        """Headers of the requests for a file's bytes, in order."""
        return [headers for host, path, headers in self.asked if path == f"/cdn/{name}"]


def git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        self.hub.asked.append((self.headers["Host"], path, dict(self.headers)))
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            self._send_weights(parts[1])
            return
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._end(401, headers={"X-Error-Code": "RepoNotFound"})
        elif parts[:2] == ["api", "models"]:
            self._list("/".join(parts[2:4]))
        else:
            self._send("/".join(parts[:2]), parts[4])

    def _list(self, repository):
        files = self.hub.repositories.get(repository)
        status = self.hub.status.get(repository, 200 if files else 404)
        if status != 200:
            code = {403: "GatedRepo", 404: "RepoNotFound"}.get(status, "")
            self._end(status, headers={"X-Error-Code": code} if code else {})
            return
        listed = [self._entry(name, content) for name, content in files.items()]
        told = {
            "id": repository,
            "modelId": repository,
            "sha": COMMIT,
            "siblings": listed,
            "cardData": {"license": "apache-2.0"},
            "tags": [],
            "private": False,
            "downloads": 0,
        }
        self._end(200, json.dumps(told).encode())

    @staticmethod
    def _entry(name, content):
        entry = {"rfilename": name, "size": len(content), "blobId": git_id(content)}
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
        return entry

    def _send(self, repository, name):
        status = self.hub.status.get(name, 200)
        if status != 200:
            return self._end(status)
        if name.endswith(".safetensors"):
            self.hub.served = repository
            return self._end(
                302, headers={"Location": f"http://localhost:{self.hub.port}/cdn/{name}"}
            )
        return self._end(200, self._content(repository, name))

    def _content(self, repository, name):
        content = self.hub.repositories[repository][name]
        return content[::-1] if name in self.hub.wrong else content

    def _send_weights(self, name):
        content, start = self._content(self.hub.served, name), 0
        asked = self.headers.get("Range")
        if asked and self.hub.has_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        limit = self.hub.drop_after.pop(0) if self.hub.drop_after else None
        for at in range(start, len(content), 1 << 16):
            if limit is not None and at - start >= limit:
                self._break_off()
                return
            if self.hub.stall_after is not None and at >= self.hub.stall_after:
                time.sleep(60)
            self.wfile.write(content[at : at + (1 << 16)])
            if self.hub.slow_s:
                time.sleep(self.hub.slow_s)

    def _break_off(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def _end(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
