"""The recorder of own words in a terminal: what it asks, refuses, keeps and shows, by a scripted and a real stream."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_take import noise
from virtual_microphone import VirtualMicrophone, require_audio

from pipeline import config
from pipeline.config import BACKGROUND_NOISE, UNKNOWN
from pipeline.corpora import folder, manifest
from pipeline.device import audio, take
from pipeline.stages import corpus

ROOT = Path(__file__).parents[1]
RECORD = ("scripts/record.py",)
RATE_HZ = 16_000
PATIENCE_S = 30
ENTER = "\r"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# The recorder with a microphone that hears, take by take, what is named in `{sounds}`; `{patch}` is run before.
SCRIPTED = """
import runpy, sys
sys.path.insert(0, "tests")
import scripted_microphone
from pipeline.device import take
scripted_microphone.take_over("{sounds}".split())
take.ROOM_S = 2
{patch}
runpy.run_path("scripts/record.py", run_name="__main__")
"""
FULL_SILENCE = f"take.ROOM_S = {take.ROOM_S}"


def scripted(sounds: str, patch: str = "") -> tuple[str, ...]:
    return "-c", SCRIPTED.replace("{sounds}", sounds).replace("{patch}", patch)


class Terminal:
    """The recorder in a terminal of its own."""

    def __init__(
        self, out: Path, *arguments: str, program: tuple[str, ...], columns: int = 80, environment: object = os.environ
    ) -> None:
        self._ours, self._theirs = os.openpty()
        termios.tcsetwinsize(self._theirs, (24, columns))
        options = ["--out", str(out), *(() if "--speaker" in arguments else ("--speaker", "anna_b")), *arguments]
        self.process = subprocess.Popen(
            [sys.executable, *program, *options],
            cwd=ROOT,
            env={**environment, "TERM": "xterm"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
        )
        self._written = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            self._written.extend(os.read(self._ours, 65_536))

    @property
    def frames(self) -> str:
        """All that was ever drawn, one picture after the other."""
        return CONTROL.sub("", self._written.decode(errors="replace").replace("\x1b[1A", "\n"))

    @property
    def screen(self) -> str:
        """What is to be seen now, with what has scrolled away."""
        lines, row, column = [""], 0, 0
        for part in re.findall(rf"{CONTROL.pattern}|[\r\n]|[^\x1b\r\n]+", self._written.decode(errors="replace")):
            if part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif part == "\r":
                column = 0
            elif part == "\x1b[1A":
                row -= 1
            elif part == "\x1b[2K":
                lines[row] = ""
            elif not part.startswith("\x1b"):
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return "\n".join(lines).rstrip()

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._theirs)[3] & termios.ECHO)

    def until(self, text: str, start: int = 0) -> str:
        """The screen from a place on, once this text is on it; line ends are none, since long lines are folded."""
        self.wait(lambda: text in self.screen[start:].replace("\n", ""), f"{text!r}")
        return self.screen[start:].replace("\n", "")

    def asked(self) -> str:
        """What is to be said next, once a key is waited for."""
        is_raw = "a key to be asked for"
        self.wait(lambda: not termios.tcgetattr(self._theirs)[3] & termios.ICANON, is_raw)
        self.wait(lambda: self.screen.endswith("q: stop"), is_raw)
        return (re.findall(r"^Next: (.*)$", self.screen, re.MULTILINE) or [""])[-1]

    def press(self, key: str, then: str) -> str:
        """What a key brings, once this text is in it."""
        self.asked()
        start = max(self.screen.rfind("Next: "), self.screen.rfind("That was the last."))
        os.write(self._ours, key.encode())
        return self.until(then, start)

    def end(self) -> int:
        self.wait(lambda: self.process.poll() is not None, "the end")
        return self.process.wait()

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"waited for {what}; shown: {self.screen}")
            time.sleep(0.05)


def record(out: Path, sounds: str, *arguments: str, patch: str = "", columns: int = 80) -> Terminal:
    words = ("--words", "lamp, kettle") if "--words" not in arguments else ()
    return Terminal(out, *words, *arguments, program=scripted(sounds, patch), columns=columns)


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir())


# --- a session ---


def test_what_a_session_leaves_is_a_corpus(tmp_path: Path) -> None:
    out, words = tmp_path / "my own", ["sésame", "it's"]
    session = record(out, "room" + 9 * " word", "--words", ",".join(words), "--takes", "3", patch=FULL_SILENCE)
    assert session.asked() == "nobody speaks"
    assert "anna_b, by scripted: 10 takes to go, about 1 min." in session.screen
    session.press(ENTER, "kept   nobody speaks, -46 dBFS at its peak")
    asked = []
    for _ in range(9):
        asked.append(session.asked())
        session.press(ENTER, f"kept   {asked[-1]}, -")
    assert all(set(words) <= set(asked[start : start + 3]) for start in (0, 3, 6))
    assert len({name for name in asked if name.startswith("any other word, such as ")}) == 3
    summary = session.press(ENTER, "three speakers: it needs split_by")
    assert session.end() == 0
    assert "anna_b: silence 1, sésame 3, it's 3, other words 3" in summary
    assert f"To build: make CORPUS=folder SOURCE='{out}'" in summary
    assert "asks for the rest" not in summary
    settings = config.load(
        corpus={
            "kind": "folder",
            "source": str(out),
            "split_by": "take",
            "sentences": 0,
            "training_unknown_percent": 99.0,
        }
    )
    corpus.run(settings, tmp_path, tmp_path / "corpus")
    assert (tmp_path / "corpus" / manifest.REJECTED).read_text().count("\n") == 1  # only its header
    clips = [clip for clip in manifest.read(tmp_path / "corpus") if clip.source == "folder"]
    assert Counter(clip.word for clip in clips) == {**dict.fromkeys(words, 3), UNKNOWN: 3}
    assert {clip.speaker for clip in clips} == {"anna_b"}
    assert [path.name for path in folder.find(settings).noise] == ["001.wav"]
    assert soundfile.info(out / BACKGROUND_NOISE / "anna_b" / "001.wav").duration == take.ROOM_S


def test_a_take_that_can_not_be_used_is_refused_and_asked_for_again(tmp_path: Path) -> None:
    session = record(tmp_path, "nothing clipped lost word", "--takes", "1")
    session.press("s", "skipped  nobody speaks")
    word = session.asked()
    for reason in ("nothing but the room was heard", "it was clipped", "some of its sound was lost"):
        session.press(ENTER, f"again  {word}: {reason}")
        assert session.asked() == word
        # What was lost in part is not to be listened to, nor is the take before in its place.
        assert ("l: listen" in session.screen.rpartition("Next: ")[2]) == ("lost" not in reason)
        assert files(tmp_path) == []
    session.press(ENTER, f"kept   {word}, ")
    assert session.asked() != word
    assert len(files(tmp_path)) == 1
    session.press("q", "The same command asks for the rest.")
    assert session.end() == 0


def test_takes_are_undone_one_by_one_and_asked_for_again(tmp_path: Path) -> None:
    session = record(tmp_path, "room word word word", "--takes", "1")
    asked = []
    for _ in range(3):
        asked.append(session.asked())
        session.press(ENTER, "kept")
    assert len(files(tmp_path)) == 3
    for word in reversed(asked[1:]):
        session.press("u", f"undone {word}")
        assert session.asked() == word
    assert files(tmp_path) == ["_background_noise_/anna_b/001.wav"]
    session.press(ENTER, f"kept   {asked[1]}")
    assert session.asked() == asked[2]
    session.press("q", "To build")
    assert session.end() == 0


def test_one_can_listen_to_what_was_kept_and_to_what_was_refused(tmp_path: Path) -> None:
    session = record(tmp_path, "word nothing", "--takes", "1")
    session.press("s", "skipped")
    session.asked()
    assert "l: listen" not in session.screen
    session.press(ENTER, "kept")
    session.press("l", "heard 1.0 s")  # the word, as it is kept
    session.press(ENTER, "again")
    session.press("l", "no sound can be played: no device")
    session.press("q", "To build")
    assert session.end() == 0


def test_the_next_session_asks_for_what_is_missing(tmp_path: Path) -> None:
    first = record(tmp_path, "room word word word word", "--takes", "2")
    for _ in range(5):
        first.press(ENTER, "kept")
    first.press("q", "asks for the rest")
    second = record(tmp_path, "word word", "--takes", "2")
    second.until("anna_b, by scripted: 2 takes to go")
    for _ in range(2):
        second.press(ENTER, "kept")
    second.until("That was the last.Enter: end")
    second.press(ENTER, "To build")
    takes = [f"{name}/anna_b/00{number}.wav" for name in (UNKNOWN, "kettle", "lamp") for number in (1, 2)]
    assert files(tmp_path) == ["_background_noise_/anna_b/001.wav", *takes]
    third = record(tmp_path, "", "--takes", "2")
    assert third.end() == 0
    third.until("anna_b has said every word 2 times; for more takes give a larger --takes")
    other = record(tmp_path, "", "--takes", "2", "--speaker", "ben")
    other.until("ben, by scripted: 7 takes to go")
    other.press("q", "ben: nothing yet")
    assert other.end() == 0


# --- how it ends ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_a_take_it_keeps_the_takes_before(number: signal.Signals, tmp_path: Path) -> None:
    session = record(tmp_path, "room word endless", "--takes", "1")
    session.press(ENTER, "kept")
    session.press(ENTER, "kept")
    session.press(ENTER, "say it now")
    assert not session.echoes
    session.process.send_signal(number)
    session.until("anna_b: silence 1, ")
    assert session.end() == 0
    assert len(files(tmp_path)) == 2
    assert session.echoes


@pytest.mark.parametrize("key", ["\x03", "\x04", "q", "Q"])
def test_stopped_between_takes_it_keeps_the_takes_before(key: str, tmp_path: Path) -> None:
    session = record(tmp_path, "room", "--takes", "1")
    session.press(ENTER, "kept")
    session.press(key, "anna_b: silence 1The same command asks for the rest.")
    assert session.end() == 0
    assert files(tmp_path) == ["_background_noise_/anna_b/001.wav"]


def test_a_device_that_is_gone_ends_it_with_one_line(tmp_path: Path) -> None:
    session = record(tmp_path, "room word unplugged", "--takes", "1")
    for _ in range(2):
        session.press(ENTER, "kept")
    session.press(ENTER, "Error: scripted: no sound comes from it any more; plug it in, and start again")
    assert session.end() == 1
    assert len(files(tmp_path)) == 2


def test_a_full_disk_ends_it_with_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    session = record(tmp_path, "word", "--takes", "1", patch=limit)
    session.press("s", "skipped")
    word = session.asked()
    name = word if word in ("lamp", "kettle") else UNKNOWN
    session.press(ENTER, "Error: ")
    assert session.end() == 1
    session.until(f"Error: {tmp_path / name / 'anna_b'}: File too large; mend it and start again")
    assert list(tmp_path.rglob("*")) == []


# --- what it needs ---


def test_without_a_terminal_it_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, *RECORD, "--words", "lamp", "--out", str(tmp_path / "mine"), "--speaker", "anna"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input="\n")
    assert result.returncode == 2
    assert result.stderr.endswith("run it in a terminal, without a pipe\n")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("arguments", "patch", "code", "message"),
    [
        ((), "sys.modules['rich.console'] = None", 1, "and the microphone needs it; run: pip install '.[microphone]'"),
        (("--device", "usb"), "", 1, "Error: no input device 'usb'; there are: 0 scripted"),
        (("--words", "lamp,"), "", 2, "Error: settings: corpus.keywords: a word is empty; remove it from the list"),
        (("--words", "lamp, on/off"), "", 1, "Error: 'on/off' can't be a word: it names a folder"),
        (("--speaker", "anna/b"), "", 1, "Error: 'anna/b' can't be a speaker: it names a folder"),
        (("--takes", "0"), "", 2, "Error: Invalid value for '--takes'"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(
    arguments: tuple[str, ...], patch: str, code: int, message: str, tmp_path: Path
) -> None:
    session = record(tmp_path, "", *arguments, patch=patch)
    assert session.end() == code
    session.until(message)
    assert "Traceback" not in session.screen
    assert list(tmp_path.iterdir()) == []


def test_without_sounddevice_the_extra_is_named(tmp_path: Path) -> None:
    lacking = (
        f"import runpy, sys; sys.modules['sounddevice'] = None; runpy.run_path('{RECORD[0]}', run_name='__main__')"
    )
    session = Terminal(tmp_path, "--words", "lamp", program=("-c", lacking))
    assert session.end() == 1
    session.until("Error: sounddevice is not installed, and the microphone needs it")


# --- what is shown ---


@pytest.mark.parametrize("columns", [80, 40])
def test_the_screen_says_when_to_speak_and_how_loud_it_is(columns: int, tmp_path: Path) -> None:
    session = record(tmp_path, "room word", "--takes", "1", columns=columns)
    session.press(ENTER, "kept")
    cues = r"─ 1 of 4 ─.*nobody speaks.*─ in 3 ─.*─ in 2 ─.*─ in 1 ─.*─ hush: 2 s ─.*─ hush: 1 s ─"
    assert re.search(cues, session.frames, re.DOTALL)
    assert re.search(r"^level +[━╸╺]+ +-5\d dBFS", session.frames, re.MULTILINE)
    word = session.asked()
    session.press(ENTER, "kept")
    assert re.search(rf"─ 2 of 4 ─.*{word.split()[0]}.*─ in 1 ─.*─ say it now ─", session.frames, re.DOTALL)
    assert re.search(r"^level ━+[╸╺━]* +-\d dBFS", session.frames, re.MULTILINE)
    session.press("q", "To build")
    assert session.end() == 0
    lines = re.split(r"[\r\n]+", session.frames)
    assert max(len(line) for line in lines if not line.startswith("To build")) <= columns
    assert "─" not in session.screen  # of the pictures nothing is left


# --- a real stream ---


@pytest.mark.audio
def test_a_word_is_recorded_by_a_microphone_and_silence_is_not(tmp_path: Path) -> None:
    require_audio()
    slow = tmp_path / "slow.toml"  # with time enough to start playing on a busy machine
    slow.write_text("[audio]\nclip_ms = 4000\n")
    out, spoken = tmp_path / "mine", noise(-20, 0.6)
    with VirtualMicrophone() as microphone:
        arguments = ("--words", "lamp", "--takes", "1", "--params", str(slow), "--device", "virtual")
        session = Terminal(out, *arguments, program=RECORD, environment=microphone.environment)
        session.press("s", "skipped")
        session.press(ENTER, "no sound came at all: is the microphone muted")
        assert files(out) == []
        session.press(ENTER, "say it now")
        microphone.play(spoken)
        session.until("kept   ")
        session.press("l", "playing")
        session.press("q", "To build")
        assert session.end() == 0
    (path,) = out.rglob("*.wav")
    samples, rate_hz = soundfile.read(path, dtype="int16")
    assert (rate_hz, len(samples)) == (RATE_HZ, 4 * RATE_HZ)
    audio.write(tmp_path / "played.wav", spoken, RATE_HZ)
    played, _ = soundfile.read(tmp_path / "played.wav", dtype="int16")
    np.testing.assert_array_equal(np.trim_zeros(samples), np.trim_zeros(played))
