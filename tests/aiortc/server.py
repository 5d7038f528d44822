"""Trackyard as a process of its own, on loopback and on a port of its own."""

import json
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = REPOSITORY / os.environ.get("TRACKYARD_BIN", "target/ci/trackyard")
WORKERS = os.environ.get("TRACKYARD_WORKERS", "1")

# The server signs its certificate itself; on loopback there is nobody to be fooled by.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


class Server:
    """A running server; a context manager that ends it."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="trackyard-test-")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
        self.process = subprocess.Popen(
            [BINARY, "--listen", f"127.0.0.1:{self.port}", "--workers", WORKERS],
            cwd=self.folder.name,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 15
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                text = self.read_log()
                self.__exit__()
                raise RuntimeError(f"{BINARY} does not answer:\n{text}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def read_log(self):
        return pathlib.Path(self.log.name).read_text()

    def _answers(self):
        try:
            return self.request("GET", "/healthz")[0] == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None):
        """One HTTPS request; gives status, headers and body. `path` may be a whole URL."""
        url = path if path.startswith("https:") else self.url + path
        data = body.encode() if body is not None else None
        call = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(call, timeout=5, context=UNVERIFIED) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def rooms(self):
        """What `GET /api/rooms` says."""
        status, _, body = self.request("GET", "/api/rooms")
        assert status == 200, body
        return json.loads(body)


def free_port():
    """A port that nobody has, on TCP and on UDP."""
    for _ in range(20):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free on both TCP and UDP")
