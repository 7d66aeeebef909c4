"""The browser demo: serves the page in web/ and one bundle, to this machine only."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import re
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from pipeline.cli import PATH, OneLineErrors
from pipeline.device import Recognizer
from pipeline.device.bundle import DESCRIPTION
from pipeline.device.recognizer import DEFAULT_FILE
from pipeline.errors import MissingExtra, SettingsError

WEB = Path(__file__).resolve().parents[1] / "web"
LOOPBACK = "127.0.0.1"
# Tried in this order, unless one is given; not those of other projects' servers, as the page's copy stays at its port
PORTS = range(8_765, 8_785)

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".wasm": "application/wasm",
}
PAGE_TYPES = {".css", ".html", ".js", ".mjs", ".svg"}
PACKAGE_TYPES = {".js", ".wasm"}


def files(bundle: Path) -> dict[str, Path]:
    """Every address that is answered, and its file: the page, the packages it loads, and two files of the bundle.

    Raises
    ------
    MissingExtra
        If the packages aren't installed.
    """
    packages = WEB / "node_modules" / "@litertjs"
    page = [path for path in WEB.iterdir() if path.suffix in PAGE_TYPES]
    scripts = [path for path in packages.rglob("*") if path.suffix in PACKAGE_TYPES]
    if not scripts:
        raise MissingExtra(f"{packages}: LiteRT.js is not installed; run: make page")
    inside = [path for path in page + scripts if path.resolve().is_relative_to(WEB.resolve())]
    served = {f"/{path.relative_to(WEB).as_posix()}": path for path in inside}
    served["/"] = served.pop("/index.html")
    return served | {f"/bundle/{name}": bundle / name for name in (DESCRIPTION, DEFAULT_FILE)}


def headers(index: str) -> dict[str, str]:
    """What goes with every answer, so that the page can load, run and tell nothing but what is served here.

    The one script that stands inside the page, the names of the packages, is let through by its hash.
    """
    (inside,) = re.findall(r'<script type="importmap">(.*?)</script>', index, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' 'sha256-{digest}'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the addresses in a table; no part of an address ever becomes a path."""

    server: ThreadingHTTPServer
    server_version, sys_version = "demo", ""

    def __init__(self, *args: Any, served: Mapping[str, Path], fixed: Mapping[str, str]) -> None:
        self._served, self._fixed = served, fixed
        super().__init__(*args)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the browser may have gone on
            super().handle()

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        path = self._served.get(self.path.partition("?")[0])
        if not self._is_for_us():
            # Another site's name that leads to this machine: its pages must not read ours.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif path is None or not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            content = path.read_bytes()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES[path.suffix])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_content:
                self.wfile.write(content)

    def _is_for_us(self) -> bool:
        return self.headers.get("Host", "").removesuffix(f":{self.server.server_port}") in (LOOPBACK, "localhost")

    def end_headers(self) -> None:
        for name, value in self._fixed.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of what was asked for."""


def open_server(bundle: Path, port: int | None) -> ThreadingHTTPServer:
    """A server on the loopback address: at `port`, any free one for 0, or the first free one of `PORTS` for None.

    Raises
    ------
    SettingsError
        If the port can't be had.
    """
    index = (WEB / "index.html").read_text(encoding="utf-8")
    handler = partial(Handler, served=files(bundle), fixed=headers(index))
    for candidate in PORTS if port is None else [port]:
        try:
            return ThreadingHTTPServer((LOOPBACK, candidate), handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            reason = error.strerror
    raise SettingsError(f"port {candidate}: {reason}; give another with --port, or 0 for any that is free")


@click.command(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("bundle", type=PATH)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="NUMBER",
    help=f"Port; 0 is any that is free.  [default: {PORTS[0]}, or the next that is free]",
)
def main(bundle: Path, port: int | None) -> None:
    """Let the words of BUNDLE be heard in a browser: a page for this machine only, until Ctrl-C."""
    Recognizer.load(bundle)  # says here, and not in the browser, what is wrong with it
    with open_server(bundle, port) as server, contextlib.suppress(KeyboardInterrupt):
        click.echo(f"Open http://{LOOPBACK}:{server.server_port}/ in a browser. Ctrl-C ends.")
        server.serve_forever()


if __name__ == "__main__":
    main()
