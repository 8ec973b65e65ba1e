"""A host on this machine that sends a folder as the web's hosts do: compressed, and with types."""

import gzip
import mimetypes
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

PACKED = ("text/", "application/javascript", "application/json", "application/xml", "image/svg+xml")
TYPES = {".js": "text/javascript", ".webp": "image/webp", ".md": "text/markdown"}


def packed(path: Path, content: bytes | None = None) -> tuple[bytes, str, bool]:
    """What is sent of a file, its type, and whether it is compressed."""
    kind = (
        TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    )
    content = path.read_bytes() if content is None else content
    compressed = kind.startswith(PACKED)
    return (gzip.compress(content, mtime=0) if compressed else content), kind, compressed


class WebHost:
    """Serves `folder` while it is open, and counts the bytes of the bodies sent.

    `instead` has the content of some files, by their path in the folder, that is sent in place of
    their own.
    """

    def __init__(self, folder: Path, instead: Mapping[str, bytes] | None = None) -> None:
        self.sent = 0
        host, folder = self, folder.resolve()
        others = {folder / path: content for path, content in (instead or {}).items()}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = folder / unquote(urlsplit(self.path).path).lstrip("/")
                path = path / "index.html" if path.is_dir() else path
                if not path.is_file() or folder not in path.resolve().parents:
                    self.send_error(404)
                    return
                body, kind, compressed = packed(path, others.get(path))
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "max-age=600")
                if compressed:
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(body)
                host.sent += len(body)

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:  # the browser has left the page
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """A test has nothing to say about requests that went well."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> "WebHost":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.shutdown()
        self._server.server_close()
