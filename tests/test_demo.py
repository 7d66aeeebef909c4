"""The browser demo: what its server gives away, and the page in Chromium, with spoken words as its microphone."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import spoken
from click.testing import CliRunner
from conftest import see

from benchmarks.runtimes.runtimes import ENVIRONMENT
from pipeline.device import Spotter, audio, metadata
from pipeline.device.metadata import Metadata
from pipeline.errors import MissingExtra, SettingsError
from scripts import demo

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
HOSTILE = "<img src=x onerror=\"document.title='run'\">"
LONG = "x" * 90

# --- the server ---


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small page with a package, and beside them what is nobody's business."""
    (tmp_path / "secret.js").write_text("secret")
    folder = tmp_path / "web"
    package = folder / "node_modules" / "@litertjs" / "core"
    other = folder / "node_modules" / "other"
    for place in (package, other):
        place.mkdir(parents=True)
        (place / "index.js").write_text("export {};")
        (place / "package.json").write_text("{}")
    (package / "run.wasm").write_bytes(b"\0asm")
    (folder / "index.html").write_text('<script type="importmap">{"imports": {}}</script>')
    (folder / "app.mjs").write_text("export {};")
    (folder / "package.json").write_text("{}")
    (folder / "link.js").symlink_to(tmp_path / "secret.js")
    (package / "link.js").symlink_to(tmp_path / "secret.js")
    monkeypatch.setattr(demo, "WEB", folder)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("commands.json", "commands.tflite", "commands_float.tflite", "MODEL_CARD.md"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def port(web: Path, bundle: Path) -> Iterator[int]:
    with demo.open_server(bundle, 0) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content of an answer; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{port}" if host is None else host)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


SERVED = {
    "/": "text/html; charset=utf-8",
    "/app.mjs": "text/javascript; charset=utf-8",
    "/node_modules/@litertjs/core/index.js": "text/javascript; charset=utf-8",
    "/node_modules/@litertjs/core/run.wasm": "application/wasm",
    "/bundle/commands.json": "application/json",
    "/bundle/commands.tflite": "application/octet-stream",
}


@pytest.mark.parametrize("path", SERVED)
def test_what_the_page_needs_is_served_with_its_type(path: str, port: int) -> None:
    status, headers, content = ask(port, path)
    assert (status, headers["Content-Type"]) == (200, SERVED[path])
    assert len(content) == int(headers["Content-Length"]) > 0
    assert ask(port, path + "?x=1")[2] == content
    without = ask(port, path, "HEAD")
    assert (without[0], without[1]["Content-Length"], without[2]) == (200, headers["Content-Length"], b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.js",
        "/%2e%2e/secret.js",
        "/..%2fsecret.js",
        "/bundle/../../secret.js",
        "//secret.js",
        "/link.js",
        "/node_modules/@litertjs/core/link.js",
        "/node_modules/@litertjs/core/package.json",
        "/node_modules/@litertjs/core/",
        "/node_modules/@litertjs",
        "/node_modules/other/index.js",
        "/node_modules/",
        "/package.json",
        "/bundle/",
        "/bundle/commands_float.tflite",
        "/bundle/MODEL_CARD.md",
        "/bundle/commands.json/",
        "//[",
        "/%00",
        "*",
    ],
)
def test_nothing_else_is_served(path: str, port: int) -> None:
    assert ask(port, path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1.evil.example", ""])
def test_another_host_s_name_is_refused(host: str, port: int) -> None:
    """A site may let its name lead to this machine, and its pages would be of one origin with ours."""
    status, _, content = ask(port, "/bundle/commands.json", host=host.format(port=port))
    assert status == 421
    assert b"commands" not in content


def test_this_machine_s_own_name_is_not_refused(port: int) -> None:
    assert ask(port, "/", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"])
def test_it_can_only_be_read(method: str, port: int) -> None:
    assert ask(port, "/", method)[0] == 501


@pytest.mark.parametrize("path", ["/", "/bundle/commands.json", "/nothing"])
def test_every_answer_has_the_policy(path: str, port: int) -> None:
    _, headers, _ = ask(port, path)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe-inline" not in str(policy)
    assert "'unsafe-eval'" not in str(policy)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_it_listens_on_the_loopback_address_only(port: int) -> None:
    with socket.socket() as elsewhere:
        elsewhere.settimeout(2)
        with pytest.raises(OSError, match=r"refused|timed out"):
            elsewhere.connect(("127.0.0.2", port))  # which answers where every address is listened on


def test_a_client_that_breaks_off_leaves_no_trace(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for sent in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        client = socket.create_connection((demo.LOOPBACK, port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        client.sendall(sent)
        client.close()
    assert ask(port, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_port_in_use_is_said_and_the_next_is_taken_where_none_was_given(
    web: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with demo.open_server(bundle, 0) as server:
        port = server.server_port
        with pytest.raises(SettingsError, match=rf"^port {port}: Address already in use; give another with --port"):
            demo.open_server(bundle, port)
        monkeypatch.setattr(demo, "PORTS", (port, 0))
        with demo.open_server(bundle, None) as next_one:
            assert next_one.server_port != port


def test_packages_that_are_missing_are_named_with_what_to_run(web: Path, bundle: Path) -> None:
    shutil.rmtree(web / "node_modules")
    with pytest.raises(MissingExtra, match=r"LiteRT\.js is not installed; run: make page"):
        demo.open_server(bundle, 0)


def test_what_is_wrong_with_a_bundle_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(demo.main, [str(tmp_path)])
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: .*commands\.json: no such file; .*\n", result.output)


def test_the_pinned_packages_name_no_host() -> None:
    assert "://" not in (WEB / "package-lock.json").read_text(encoding="utf-8")


def test_the_spectrogram_shows_the_spectrum() -> None:
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed; install it, on Debian with: apt install nodejs")
    frame = np.random.default_rng(1).standard_normal(512).astype(np.float32)
    program = (
        f'import {{ powers }} from "{WEB / "spectrogram.mjs"}";'
        f"console.log(JSON.stringify([...powers(Float32Array.from({frame.tolist()}))]))"
    )
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    expected = np.abs(np.fft.rfft(frame))[:256] ** 2
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-3, atol=1e-2)


# --- the page, in Chromium ---


@contextmanager
def served(bundle: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The demo as a person starts it: its address and its process."""
    command = [sys.executable, "scripts/demo.py", str(bundle), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        try:
            found = re.search(r"http://\S+", line)
            assert found, process.stderr and process.stderr.read()
            yield found[0], process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def build() -> Path:
    """The default build, where Chromium and the page's packages are."""
    for path, target in ((ENVIRONMENT / "ready", "runtimes"), (WEB / "node_modules" / "ready", "page")):
        if not path.exists():
            pytest.skip(f"{path.parent.relative_to(ROOT)} is not installed; run: make {target}")
    if not shutil.which("chromium"):
        pytest.skip("the page needs Chromium; install it, on Debian with: apt install chromium")
    return spoken.built()


@pytest.fixture(scope="module")
def address(build: Path) -> Iterator[str]:
    with served(build / "bundle") as (address, _):
        yield address


@pytest.fixture(scope="module")
def words(build: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], float]:
    """A file with words, which words, and its length in seconds."""
    samples, said = spoken.compose(build)
    path = tmp_path_factory.mktemp("words") / "words.wav"
    rate_hz = Spotter.load(build / "bundle").audio.sample_rate_hz
    audio.write(path, samples, rate_hz)
    return path, [word for word, _ in said], len(samples) / rate_hz


@pytest.fixture
def own_bundle(build: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be changed."""
    return Path(shutil.copytree(build / "bundle", tmp_path / "bundle"))


def as_shown(bundle: Path, file: Path) -> list[tuple[str, float, float, float]]:
    """What `Spotter` hears in a file, in Python: word, start and end in seconds, score."""
    spotter = Spotter.load(bundle)
    detections = spotter.feed(audio.read(file, spotter.audio.sample_rate_hz)) + spotter.finish()
    return [(d.word, d.start_s, d.end_s, d.score) for d in detections]


def from_row(row: list[str]) -> tuple[str, float, float, float]:
    word, when, score = row
    start_s, end_s = (60 * int(minutes) + float(s) for minutes, s in (time.split(":") for time in when.split(" – ")))
    return word, start_s, end_s, float(score)


def only_ours(seen: dict[str, Any], address: str) -> bool:
    """Nothing but the server was asked, and nothing went wrong."""
    assert seen["errors"] == []
    assert seen["hosts"] == [urlsplit(address).netloc]
    return True


@pytest.mark.browser
def test_words_that_are_spoken_appear_on_the_page_in_order_and_nothing_else(
    address: str, words: tuple[Path, list[str], float]
) -> None:
    path, said, length_s = words
    seen = see("hear", address, wav=str(path), length_s=length_s)
    assert [word for word, _, _ in seen["rows"]] == said
    assert seen["latest"] == said[-1]
    assert seen["status"] == f"the microphone: {len(said)} words heard."
    assert only_ours(seen, address)


@pytest.mark.browser
def test_a_file_gives_what_spotter_hears_in_python(
    address: str, build: Path, words: tuple[Path, list[str], float]
) -> None:
    path, said, _ = words
    seen = see("give", address, file=str(path))
    expected = as_shown(build / "bundle", path)
    assert [row[0] for row in seen["rows"]] == [word for word, *_ in expected] == said
    hop_s = Spotter.load(build / "bundle").listen.hop_ms / 1000
    for found, wanted in zip(map(from_row, seen["rows"]), expected, strict=True):
        assert found[1:3] == pytest.approx(wanted[1:3], abs=hop_s)
        assert found[3] == pytest.approx(wanted[3], abs=0.02)
    assert seen["status"] == f"words.wav: {len(said)} words heard."
    assert only_ours(seen, address)


@pytest.mark.browser
def test_without_its_server_the_page_still_works(build: Path, words: tuple[Path, list[str], float]) -> None:
    path, said, _ = words
    with served(build / "bundle") as (address, process):
        seen = see("stop_server", address, file=str(path), process=process.pid)
        assert [word for word, _, _ in seen["rows"]] == said
        assert process.wait(10) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


@pytest.mark.browser
def test_another_site_that_comes_to_its_address_is_left_alone(build: Path) -> None:
    with served(build / "bundle") as (address, process):
        seen = see("serve_another", address, process=process.pid)
    assert (seen["elsewhere"], seen["redirected"]) == ("another site: /",) * 2


@pytest.mark.browser
def test_while_the_server_is_there_nothing_old_is_shown(own_bundle: Path) -> None:
    labels = [*json.loads((own_bundle / "commands.json").read_text(encoding="utf-8"))["thresholds"]]
    with served(own_bundle) as (address, _):
        seen = see("change_bundle", address, bundle=str(own_bundle))
    assert seen["words"] == [", ".join(labels), ", ".join(labels[:-1])]
    other_model, other_format = seen["problems"]
    assert other_model.startswith("commands.tflite is not the file that commands.json describes")
    assert other_format.startswith("The bundle is of format 99, and this page reads format 2")


@pytest.mark.browser
def test_the_page_can_tell_no_other_host_anything(address: str) -> None:
    seen = see("send_elsewhere", address, to="http://elsewhere.example/")
    way = {"fetch": "connect-src", "beacon": "connect-src", "socket": "connect-src", "image": "img-src"}
    expected = way | {"script": "script-src-elem"}
    assert seen["refused"] == {name: [directive, "elsewhere.example"] for name, directive in expected.items()}
    assert seen["isolated"]


@pytest.mark.browser
def test_labels_are_text_and_fit_a_narrow_screen(own_bundle: Path, words: tuple[Path, list[str], float]) -> None:
    path, said, _ = words
    rename(own_bundle, {said[0]: HOSTILE, said[1]: LONG})
    long_name = path.rename(path.with_name(f"{LONG}.wav"))
    with served(own_bundle) as (address, _):
        seen = see("give", address, file=str(long_name), width_px=380)
    long_name.rename(path)
    assert [word for word, _, _ in seen["rows"]] == [HOSTILE, LONG, *said[2:]]
    assert seen["words"].startswith(f"{HOSTILE}, {LONG}, ")
    assert (seen["title"], seen["images"]) == ("Speech commands", 0)
    assert seen["width"] == 380
    assert only_ours(seen, address)


def rename(bundle: Path, names: dict[str, str]) -> None:
    """Give labels of a bundle other names, everywhere that they are checked."""
    path, model = bundle / "commands.json", bundle / "commands.tflite"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["labels"] = [names.get(label, label) for label in content["labels"]]
    content["thresholds"] = {names.get(label, label): value for label, value in content["thresholds"].items()}
    said = metadata.read(model.read_bytes(), "")
    model.write_bytes(metadata.pack(model.read_bytes(), Metadata(**{**vars(said), "labels": tuple(content["labels"])})))
    content["sha256"]["commands.tflite"] = sha256(model.read_bytes()).hexdigest()
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.browser
def test_it_fits_a_phone_s_screen(address: str, words: tuple[Path, list[str], float]) -> None:
    assert see("give", address, file=str(words[0]), width_px=380)["width"] == 380


@pytest.mark.browser
def test_keys_and_a_screen_reader_are_enough(address: str) -> None:
    seen = see("press_keys", address)
    assert seen["focus"] == ["Listen", "solid"]
    for part in (
        'button "Stop"',
        'button "or a file:"',
        "status: Hearing the microphone…",
        'img "Spectrogram of the last seconds, low tones at the bottom"',
        'list "Words, the newest first"',
        "No sound leaves this page",
    ):
        assert part in seen["snapshot"]
    assert only_ours(seen, address)


@pytest.mark.browser
def test_where_there_is_no_sound_the_page_says_why(address: str, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("These are notes.")
    said = see("complain", address, file=str(tmp_path / "notes.wav"))
    assert said["missing"].startswith("There is no microphone. Plug one in")
    assert said["refused"].startswith("The microphone was refused. Allow it for this page")
    assert said["file"] == "notes.wav: this browser can't decode it as sound."
    assert said["insecure"].startswith("A browser gives the microphone only to pages of this computer or over https")


@pytest.mark.browser
def test_a_microphone_that_goes_is_said(address: str) -> None:
    seen = see("lose_microphone", address)
    assert seen["problem"] == "The microphone is gone: unplugged, or taken away."
    assert only_ours(seen, address)


@pytest.mark.browser
def test_a_device_that_is_too_slow_says_so_and_stops_rather_than_lose_sound(address: str) -> None:
    seen = see("fall_behind", address, score_ms=400, most_s=3)
    assert seen["problem"] == "This device can't score as fast as it hears; listening was stopped."


# --- the end of it ---


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly(tiny_build: Path) -> None:
    if not (WEB / "node_modules" / "ready").exists():
        pytest.skip("web/node_modules is not installed; run: make page")
    with served(tiny_build / "bundle") as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stdout
        assert process.stderr
        assert process.stdout.read().strip() == ""
        assert "Traceback" not in process.stderr.read()
