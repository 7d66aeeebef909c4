"""Scenes on the demo page in Chromium: `python -m tests.browse SCENE ADDRESS OPTIONS` prints what was seen, as JSON.

Runs in the environment that has Playwright. OPTIONS are a scene's arguments, as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from benchmarks.runtimes.client import FLAGS

WAIT_MS = 30_000
# Seconds of each sound, as soon as the browser knows them.
LENGTHS = """
all => Promise.all(all.map(one => one.duration || new Promise(done => {
    one.onloadedmetadata = () => done(one.duration);
})))
"""
INK = "text => getComputedStyle(text).fill"
PAPER_PX = 718  # A4 without a centimetre of margin on each side
FAKE_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

Seen = dict[str, Any]


@contextmanager
def chromium(*flags: str, **options: Any) -> Iterator[tuple[Page, Seen]]:
    """A page, and what is noticed of it: the hosts that are asked, by workers too, and errors that aren't LiteRT's."""
    os.environ["PW_EXPERIMENTAL_SERVICE_WORKER_NETWORK_EVENTS"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, *flags])
        context = browser.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        seen: Seen = {"requests": [], "errors": []}
        context.on("request", lambda request: seen["requests"].append(request.url))
        page = context.new_page()
        page.on("websocket", lambda websocket: seen["requests"].append(websocket.url))
        page.on("pageerror", lambda error: seen["errors"].append(str(error)))
        page.on("console", lambda message: is_our_error(message) and seen["errors"].append(message.text))
        yield page, seen
        seen["hosts"] = sorted({urlsplit(url).netloc for url in seen.pop("requests")})
        browser.close()


def is_our_error(message: Any) -> bool:
    """LiteRT logs what it does as errors."""
    return message.type == "error" and "/node_modules/" not in message.location["url"]


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_text("Ready.").wait_for()


def text(page: Page, name: str) -> str:
    return page.locator(f"#{name}").inner_text()


def problem(page: Page) -> str:
    page.get_by_role("alert").wait_for()
    return text(page, "problem")


def upload(page: Page, file: str) -> None:
    page.get_by_label("or a file").set_input_files(file)
    page.locator("#status", has_text="heard.").wait_for()


def rows(page: Page) -> list[list[str]]:
    """Word, times and score of each detection, the oldest first."""
    listed = page.get_by_role("list", name="Words").get_by_role("listitem").all()
    return [row.locator("span").all_inner_texts() for row in reversed(listed)]


def width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def hear(address: str, wav: str, length_s: float) -> Seen:
    """Listen to a file as the microphone, to its end and beyond."""
    with chromium(*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={wav}%noloop") as (page, seen):
        open_page(page, address)
        page.get_by_role("button", name="Listen").click()
        page.wait_for_timeout(1000 * length_s + 3_000)
        page.locator("#waiting").wait_for(state="hidden")
        page.get_by_role("button", name="Stop").click()
        page.locator("#status", has_text="heard.").wait_for()
        seen |= {"rows": rows(page), "status": text(page, "status"), "latest": text(page, "latest")}
    return seen


def give(address: str, file: str, width_px: int = 1_280) -> Seen:
    """Hear a file; how wide the page is then."""
    with chromium(viewport={"width": width_px, "height": 800}) as (page, seen):
        open_page(page, address)
        upload(page, file)
        seen |= {"rows": rows(page), "status": text(page, "status"), "words": text(page, "words")}
        seen |= {"title": page.title(), "images": page.locator("img").count(), "width": width(page)}
    return seen


def keep_and_stop(page: Page, address: str, process: int) -> None:
    """Load the page until it has a copy of itself, and stop its server."""
    open_page(page, address)
    page.locator("#offline").wait_for()
    os.kill(process, signal.SIGINT)
    while is_open(address):
        time.sleep(0.05)


def stop_server(address: str, file: str, process: int) -> Seen:
    """Load the page, stop its server, load it again and hear a file."""
    with chromium() as (page, seen):
        keep_and_stop(page, address, process)
        page.reload()
        page.get_by_text("Ready.").wait_for()
        upload(page, file)
        seen["rows"] = rows(page)
    return seen


def serve_another(address: str, process: int) -> Seen:
    """Load the page, stop its server, and visit another site at its address: what that asks others, and of its own."""
    with chromium() as (page, seen):
        keep_and_stop(page, address, process)
        with another_site(0) as elsewhere, another_site(urlsplit(address).port):
            page.goto(address)
            for name, url in {"elsewhere": elsewhere, "redirected": f"{address}to?{elsewhere}"}.items():
                seen[name] = page.evaluate("(url) => fetch(url).then((r) => r.text(), String)", url)
    return seen


@contextmanager
def another_site(port: int | None) -> Iterator[str]:
    """A server that tells everybody who it is, and sends on to the address after `?`; gives its own address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, to = self.path.partition("?")
            self.send_response(302 if to else 200)
            self.send_header("Access-Control-Allow-Origin", "*")
            if to:
                self.send_header("Location", to)
            self.end_headers()
            self.wfile.write(f"another site: {self.path}".encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", port or 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def is_open(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(address).port)) == 0


def change_bundle(address: str, bundle: str) -> Seen:
    """Load the page, with all of it kept for when there is no server, and again after each change of the bundle."""
    description, model = Path(bundle) / "commands.json", Path(bundle) / "commands.tflite"
    content = json.loads(description.read_text(encoding="utf-8"))
    with chromium() as (page, seen):
        open_page(page, address)
        page.locator("#offline").wait_for()
        seen["words"] = [text(page, "words")]
        content["thresholds"].popitem()
        description.write_text(json.dumps(content), encoding="utf-8")
        open_page(page, address)
        seen["words"].append(text(page, "words"))
        model.write_bytes(model.read_bytes() + b"more")
        page.reload()
        seen["problems"] = [problem(page)]
        description.write_text(json.dumps(content | {"format": 99}), encoding="utf-8")
        page.reload()
        seen["problems"].append(problem(page))
    return seen


SEND = """([url, way]) => new Promise((resolve) => {
  document.addEventListener("securitypolicyviolation",
                            (event) => resolve([event.effectiveDirective, new URL(event.blockedURI).host]));
  ({
    fetch: () => fetch(url).catch(() => {}),
    beacon: () => navigator.sendBeacon(url, "sound"),
    socket: () => new WebSocket(url.replace("http", "ws")),
    image: () => { new Image().src = url; },
    script: () => { document.head.append(Object.assign(document.createElement("script"), { src: url })); },
  })[way]();
})"""


def send_elsewhere(address: str, to: str) -> Seen:
    """Try to tell another host something, in each way that a page has."""
    with chromium() as (page, seen):
        open_page(page, address)
        ways = ("fetch", "beacon", "socket", "image", "script")
        seen["refused"] = {way: page.evaluate(SEND, [to, way]) for way in ways}
        seen["isolated"] = page.evaluate("crossOriginIsolated")
    return seen


def press_keys(address: str) -> Seen:
    """Reach and use the button without a mouse."""
    with chromium(*FAKE_MICROPHONE, reduced_motion="reduce") as (page, seen):
        open_page(page, address)
        page.keyboard.press("Tab")
        seen["focus"] = page.evaluate(
            "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        page.keyboard.press("Enter")
        page.get_by_text("Hearing the microphone").wait_for()
        seen["snapshot"] = page.locator("body").aria_snapshot()
        page.keyboard.press("Space")
        page.locator("#status", has_text="heard.").wait_for()
    return seen


def complain(address: str, file: str) -> Seen:
    """What the page says when there is no sound to be had, and for a file that is none."""
    said: Seen = {}
    for name, flags in {"missing": (), "refused": FAKE_MICROPHONE[:1]}.items():
        with chromium(*flags) as (page, _):
            open_page(page, address)
            page.get_by_role("button", name="Listen").click()
            said[name] = problem(page)
    with chromium() as (page, _):
        open_page(page, address)
        page.get_by_label("or a file").set_input_files(file)
        said["file"] = problem(page)
        page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
        page.reload()
        said["insecure"] = problem(page)
    return said


def lose_microphone(address: str) -> Seen:
    """The device goes while it is listened to."""
    with chromium(*FAKE_MICROPHONE) as (page, seen):
        page.add_init_script("""
            const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => (globalThis.device = await open(wanted));
        """)
        open_page(page, address)
        page.get_by_role("button", name="Listen").click()
        page.get_by_text("Hearing the microphone").wait_for()
        page.evaluate("device.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
        seen["problem"] = problem(page)
        page.get_by_role("button", name="Listen").wait_for()
    return seen


def fall_behind(address: str, score_ms: int, most_s: int) -> Seen:
    """A device that takes longer to score a window than a hop lasts."""
    with chromium(*FAKE_MICROPHONE, service_workers="block") as (page, seen):
        replace(
            page, "recognizer.mjs", "const input", f"await new Promise((r) => setTimeout(r, {score_ms})); const input"
        )
        replace(page, "sound.mjs", "MOST_WAITING_S = 30", f"MOST_WAITING_S = {most_s}")
        open_page(page, address)
        page.get_by_role("button", name="Listen").click()
        page.locator("#waiting", has_text="s behind").wait_for()
        seen["problem"] = problem(page)
    return seen


def replace(page: Page, file: str, old: str, new: str) -> None:
    """Have the page get a script of its own with one text in it changed."""

    def answer(route: Any) -> None:
        response = route.fetch()
        assert old in response.text(), f"{file} no longer holds {old!r}"
        route.fulfill(response=response, body=response.text().replace(old, new))

    page.route(f"**/{file}", answer)


def read(address: str) -> Seen:
    """A page that is read and needs no server, on a phone and on a desk, by day, by night and on paper."""
    views = []
    for width_px, theme in itertools.product((380, 1_280), ("light", "dark")):
        with chromium(viewport={"width": width_px, "height": 900}, color_scheme=theme) as (page, seen):
            page.goto(address)
            pictures = page.locator("img").evaluate_all("all => all.map(one => one.complete && one.naturalWidth > 0)")
            lengths = page.locator("audio").evaluate_all(LENGTHS)
            view = {"width": width_px, "wide": width(page), "pictures": pictures, "lengths_s": lengths}
            view["ink"] = page.locator("svg text").first.evaluate(INK)
            view["dark"] = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            page.emulate_media(media="print")
            page.set_viewport_size({"width": PAPER_PX, "height": 900})
            view |= {"paper_px": PAPER_PX, "wide_in_print": width(page)}
            view["ink_in_print"] = page.locator("svg text").first.evaluate(INK)
        views.append(view | seen)
    return {"views": views}


SCENES = (
    read,
    hear,
    give,
    stop_server,
    serve_another,
    change_bundle,
    send_elsewhere,
    press_keys,
    complain,
    lose_microphone,
    fall_behind,
)


def main() -> None:
    name, address, options = sys.argv[1:]
    scene = {scene.__name__: scene for scene in SCENES}[name]
    print(json.dumps(scene(address, **json.loads(options))))


if __name__ == "__main__":
    main()
