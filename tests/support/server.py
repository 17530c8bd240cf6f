"""Web servers on this machine."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import rasterio

ASKED: list[str] = []
"""Paths that the servers were asked for."""


class Whole(SimpleHTTPRequestHandler):
    """A server of files that gives them only as a whole."""

    def log_message(self, *_: Any) -> None:
        ASKED.append(self.path)


class Ranges(Whole):
    """A server of files that answers requests for a range of bytes, as object stores do."""

    def send_head(self) -> Any:
        if "prefix=" in self.path or "delimiter=" in self.path:
            self.send_error(403)  # a bucket that may be read, but not listed
            return None
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        file = path.open("rb")
        file.seek(first)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(file.read(last + 1 - first))
        file.close()
        return None


@contextmanager
def served(folder: Path, handler: type[Whole] = Ranges) -> Iterator[str]:
    """host:port of a server of a folder; requests are bounded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    limits = {"GDAL_HTTP_TIMEOUT": 5, "GDAL_HTTP_MAX_RETRY": 0, "GDAL_HTTP_CONNECTTIMEOUT": 5}
    with rasterio.Env(**limits):
        yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
