"""The microphone demo on a real stream of PortAudio: what is played into a virtual microphone is heard and shown."""

from __future__ import annotations

import fcntl
import json
import os
import re
import runpy
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import spoken
from test_spot import LABELS, LISTEN, RATE_HZ, SOUND, THRESHOLDS, hears_tones, tone
from virtual_microphone import VirtualMicrophone, require_audio

from pipeline.device import audio, microphone
from pipeline.device.microphone import Device, Microphone
from pipeline.errors import AudioError, MicrophoneError

ROOT = Path(__file__).parents[1]
DEMO = ("scripts/listen.py",)
PATIENCE_S = 30

# The demo with a recogniser that knows two tones, so that what it hears is certain; `{patch}` is run before.
OF_TONES = """
import runpy, sys, time
from types import SimpleNamespace
sys.path.insert(0, "tests")
import test_spot as tones
from pipeline.device import Recognizer, microphone
known = SimpleNamespace(
    score=tones.hears_tones, labels=tones.LABELS, thresholds=tones.THRESHOLDS, audio=tones.SOUND, listen=tones.LISTEN
)
Recognizer.load = lambda folder: known
{patch}
runpy.run_path("scripts/listen.py", run_name="__main__")
"""
# A device that does 44.1 kHz only, as many do; PulseAudio's do any rate.
ONE_RATE = """
import sounddevice
def check(*, samplerate, **settings):
    if samplerate != 44_100:
        raise sounddevice.PortAudioError("Invalid sample rate", -9997)
sounddevice.check_input_settings = check
"""
# It can't keep up once: the first window takes longer than what the queue holds.
SLOW_ONCE = """
def score(window):
    time.sleep(2)
    known.score = tones.hears_tones
    return known.score(window)
known.score = score
microphone._QUEUE_BLOCKS = 5
"""


def of_tones(patch: str = "") -> tuple[str, ...]:
    return "-c", OF_TONES.replace("{patch}", patch)


class Demo:
    """The demo in a process of its own; `out` and `err` are what it has said so far."""

    def __init__(self, folder: Path, heard: VirtualMicrophone, *arguments: object, program: tuple[str, ...] = DEMO):
        self._files = folder / "out.txt", folder / "err.txt"
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            command = [sys.executable, *program, *map(str, arguments)]
            self._process = subprocess.Popen(command, cwd=ROOT, env=heard.environment, stdout=out, stderr=err)
        self.until(lambda: "Listening to" in self.err or self._process.poll() is not None)

    @property
    def out(self) -> str:
        return self._files[0].read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._files[1].read_text(encoding="utf-8")

    @property
    def words(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                self._process.kill()
                pytest.fail(f"still waiting after {PATIENCE_S} s; it said: {self.out}{self.err}")
            time.sleep(0.02)

    def end(self) -> int:
        """Exit code, once it has ended."""
        self.until(lambda: self._process.poll() is not None)
        return self._process.wait()

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Exit code after a signal, Ctrl-C unless told otherwise."""
        self._process.send_signal(number)
        return self.end()


@pytest.fixture
def heard() -> Iterator[VirtualMicrophone]:
    require_audio()
    with VirtualMicrophone() as device:
        yield device


def tones(*words: str, rate_hz: int = RATE_HZ) -> np.ndarray:
    """One tone a second and a half, of 0.4 s each."""
    silence = np.zeros(round(1.1 * RATE_HZ), np.float32)
    return audio.resample(np.concatenate([part for word in words for part in (tone(word), silence)]), RATE_HZ, rate_hz)


def in_16_bits(samples: np.ndarray, folder: Path) -> np.ndarray:
    """As a file holds them."""
    audio.write(folder / "played.wav", samples, RATE_HZ)
    return soundfile.read(folder / "played.wav", dtype="int16")[0]


# --- words ---


@pytest.mark.audio
def test_words_of_held_out_voices_are_heard_through_a_microphone(heard: VirtualMicrophone, tmp_path: Path) -> None:
    build = spoken.built()
    samples, said = spoken.compose(build)
    demo = Demo(tmp_path, heard, build / "bundle", "--json")
    heard.play(samples)
    assert demo.interrupt() == 0
    assert [row["word"] for row in demo.words] == [word for word, _ in said]
    starts_s = [row["start_s"] for row in demo.words]
    np.testing.assert_allclose(np.diff(starts_s), np.diff([start_s for _, start_s in said]), atol=0.3)
    assert [list(row) for row in demo.words] == [["word", "start_s", "end_s", "score"]] * len(said)


@pytest.mark.audio
def test_every_sample_arrives_is_saved_and_heard(heard: VirtualMicrophone, tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    played = tones("low", "high", "high", "low")
    demo = Demo(tmp_path, heard, "bundle", "--json", "--save", kept, program=of_tones())
    heard.play(played)
    assert demo.interrupt() == 0
    samples, rate_hz = soundfile.read(kept, dtype="int16")
    np.testing.assert_array_equal(np.trim_zeros(samples), np.trim_zeros(in_16_bits(played, tmp_path)))
    assert (rate_hz, soundfile.info(kept).subtype) == (RATE_HZ, "PCM_16")
    assert [row["word"] for row in demo.words] == ["low", "high", "high", "low"]
    # The clock of the words is that of the file.
    started_s = np.flatnonzero(samples)[0] / rate_hz
    np.testing.assert_allclose([row["start_s"] for row in demo.words], started_s + 1.5 * np.arange(4), atol=0.05)
    assert "lost" not in demo.err


@pytest.mark.audio
def test_a_device_of_another_rate_is_resampled(tmp_path: Path) -> None:
    require_audio()
    kept = tmp_path / "kept.wav"
    with VirtualMicrophone(44_100) as heard:
        demo = Demo(tmp_path, heard, "bundle", "--json", "--save", kept, program=of_tones(ONE_RATE))
        heard.play(tones("high", "low", rate_hz=44_100))
        assert demo.interrupt() == 0
    assert "resampled from 44100 Hz" in demo.err
    assert [row["word"] for row in demo.words] == ["high", "low"]
    samples, rate_hz = soundfile.read(kept)
    assert rate_hz == RATE_HZ
    loud = np.flatnonzero(np.abs(samples) > 0.05) / rate_hz
    assert loud[-1] - loud[0] == pytest.approx(1.9, abs=0.002)
    first = samples[round((loud[0] + 0.1) * rate_hz) :][: RATE_HZ // 5]
    assert np.argmax(np.abs(np.fft.rfft(first))) * 5 == 3_000
    assert np.std(first) * np.sqrt(2) == pytest.approx(0.3, rel=0.01)


@pytest.mark.audio
def test_sound_that_was_lost_is_counted_and_said(heard: VirtualMicrophone, tmp_path: Path) -> None:
    demo = Demo(tmp_path, heard, "bundle", program=of_tones(SLOW_ONCE))
    heard.play(tones("low", "low", "low", "high"))
    assert demo.interrupt() == 0
    said = re.fullmatch(r"at \d+\.\d s sound was lost: (\d+) overruns", demo.err.splitlines()[-1])
    assert said
    assert int(said[1]) >= 10  # two seconds in tenths, but for the five that wait
    # Without --json a word is a line for people; what came after the loss was heard.
    clock = r"00:00:\d\d\.\d{3}"
    assert re.fullmatch(rf"{clock}  {clock}  \d\.\d\d  high", demo.out.splitlines()[-1])


# --- how it ends ---


@pytest.mark.audio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_said_before_it_is_stopped_is_heard(
    number: signal.Signals, heard: VirtualMicrophone, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.wav"
    demo = Demo(tmp_path, heard, "bundle", "--json", "--save", kept, program=of_tones())
    playing = threading.Thread(target=heard.play, args=[tone("low", 0.5)])
    playing.start()
    # All of it has arrived, and is too new for the averages of the scores to have seen it.
    demo.until(lambda: np.count_nonzero(np.frombuffer(kept.read_bytes()[44:], "<i2")) > 0.45 * RATE_HZ)
    assert demo.interrupt(number) == 0
    playing.join()
    assert [row["word"] for row in demo.words] == ["low"]
    assert demo.err == "Listening to default; Ctrl-C ends.\n"
    samples, _ = soundfile.read(kept)
    assert np.count_nonzero(samples) > 0.45 * RATE_HZ
    assert samples.max() == pytest.approx(0.3, abs=0.01)


@pytest.mark.audio
@pytest.mark.parametrize("misfortune", ["unplug", "suspend", "kill", "freeze"])
def test_a_device_that_is_gone_ends_it_with_one_line(misfortune: str, heard: VirtualMicrophone, tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    demo = Demo(tmp_path, heard, "bundle", "--device", "virtual", "--json", "--save", kept, program=of_tones())
    heard.play(tones("low", "high"))
    before = len(demo.err)
    getattr(heard, misfortune)()
    assert demo.end() == 1
    assert demo.err[before:] == "Error: virtual: no sound comes from it any more; plug it in, and start again\n"
    assert [row["word"] for row in demo.words] == ["low", "high"]
    assert soundfile.info(kept).frames > 2 * RATE_HZ


@pytest.mark.audio
def test_a_reader_who_has_enough_ends_it_quietly(heard: VirtualMicrophone, tmp_path: Path) -> None:
    unread = "import os; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    demo = Demo(tmp_path, heard, "bundle", program=of_tones(unread))
    heard.play(tones("high"))
    assert demo.end() == 1
    assert demo.err == "Listening to default; Ctrl-C ends.\n"


# --- devices and errors ---

NAMES = {0: "USB mic", 2: "usb Mic, stereo", 4: "Jack"}
DEVICES = [Device(n, name, "ALSA", 44_100, is_default=n == 4, channels=1) for n, name in NAMES.items()]


@pytest.mark.parametrize(("wanted", "number"), [("0", 0), ("USB mic", 0), ("STEREO", 2), ("jac", 4), (None, 4)])
def test_a_device_goes_by_number_name_or_part_of_it(wanted: str | None, number: int) -> None:
    assert microphone.find(wanted, DEVICES).number == number


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("usb", "'usb' is in the names of several input devices, choose by number: 0 USB mic; 2 usb Mic, stereo"),
        ("1", "no input device '1'; there are: 0 USB mic; 2 usb Mic, stereo; 4 Jack"),
        (None, "the system has no default input device; there are: 0 USB mic; 2 usb Mic, stereo"),
    ],
)
def test_a_device_that_is_none_or_several_is_refused_with_those_there_are(wanted: str | None, message: str) -> None:
    with pytest.raises(MicrophoneError) as refusal:
        microphone.find(wanted, DEVICES[:2] if wanted is None else DEVICES)
    assert str(refusal.value) == message


def test_only_what_sound_comes_from_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(index: int, channels: int) -> dict[str, object]:
        named = {"index": index, "name": f"no. {index}", "hostapi": 0}
        return {**named, "max_input_channels": channels, "default_samplerate": 48_000.0}

    rows = [row(0, 0), row(1, 2)]
    system = SimpleNamespace(
        query_hostapis=lambda: [{"name": "Core Audio"}],
        query_devices=lambda: rows,
        default=SimpleNamespace(device={"input": 1}),
    )
    monkeypatch.setattr(microphone, "_sounddevice", lambda: system)
    assert microphone.devices() == [Device(1, "no. 1", "Core Audio", 48_000, is_default=True, channels=2)]
    rows.pop()
    with pytest.raises(MicrophoneError, match="no input device; plug a microphone in"):
        microphone.devices()


class Refused(Exception):
    """As sounddevice's own."""


@pytest.mark.parametrize(
    ("takes", "opened"),
    [
        ({(1, 16_000), (2, 16_000), (1, 44_100)}, (1, 16_000)),
        ({(1, 44_100), (2, 44_100)}, (1, 44_100)),
        ({(2, 44_100)}, (2, 44_100)),
        ({(2, 16_000)}, (2, 16_000)),
    ],
)
def test_a_device_without_mono_gives_its_first_channel(
    takes: set[tuple[int, int]], opened: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*, channels: int, samplerate: int, **_: object) -> None:
        if (channels, samplerate) not in takes:
            raise Refused

    class Stream:
        def __init__(self, *, callback: Callable[..., None], blocksize: int, **settings: object) -> None:
            check(**settings)
            self.settings = settings["channels"], settings["samplerate"]
            block = np.zeros((blocksize, self.settings[0]), np.float32)
            block[:, 0] = 0.25
            self.start = lambda: callback(block, blocksize, None, SimpleNamespace(input_overflow=False))
            self.close = lambda: None

    system = SimpleNamespace(PortAudioError=Refused, check_input_settings=check, InputStream=Stream)
    monkeypatch.setattr(microphone, "_sounddevice", lambda: system)
    with Microphone(Device(0, "USB mic", "ALSA", 44_100, is_default=True, channels=2), RATE_HZ) as source:
        assert source._stream.settings == opened
        assert source.opened_hz == opened[1]
        source.stop()
        samples = np.concatenate(list(source))
    assert len(samples) == pytest.approx(RATE_HZ / 10, abs=1)
    np.testing.assert_allclose(samples[200:-200], 0.25, atol=1e-3)


def test_a_device_that_does_not_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        is_closed = False

        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            raise Refused("Unanticipated host error")

        def close(self) -> None:
            Stream.is_closed = True

    system = SimpleNamespace(PortAudioError=Refused, check_input_settings=lambda **_: None, InputStream=Stream)
    monkeypatch.setattr(microphone, "_sounddevice", lambda: system)
    with pytest.raises(MicrophoneError, match="USB mic: can't be opened: Unanticipated host error"):
        Microphone(DEVICES[0], RATE_HZ).__enter__()
    assert Stream.is_closed


@pytest.mark.audio
def test_devices_are_listed_and_one_is_the_default(heard: VirtualMicrophone) -> None:
    command = [sys.executable, *DEMO, "--list"]
    result = subprocess.run(command, cwd=ROOT, env=heard.environment, capture_output=True, text=True, check=True)
    lines = [re.fullmatch(r"([* ]) +(\d+)  (\w+)  \(ALSA, \d+ Hz\)", line) for line in result.stdout.splitlines()]
    assert "virtual" in [line[3] for line in lines if line]
    assert [line[1] for line in lines if line].count("*") == 1
    assert None not in lines


@pytest.mark.audio
def test_no_file_is_overwritten_and_none_is_left_by_a_wrong_start(heard: VirtualMicrophone, tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    kept.write_bytes(b"mine")
    demo = Demo(tmp_path, heard, "bundle", "--save", kept, program=of_tones())
    assert demo.end() == 1
    assert demo.err == f"Error: {kept} exists, and is not overwritten; give another name, or remove it\n"
    assert kept.read_bytes() == b"mine"
    missing, new = tmp_path / "missing" / "kept.wav", tmp_path / "new.wav"
    for arguments, message in [
        (("--save", missing), f"Error: {missing}: No such file or directory"),
        (("--save", new, "--device", "nowhere"), "Error: no input device 'nowhere'; there are: "),
    ]:
        demo = Demo(tmp_path, heard, "bundle", *arguments, program=of_tones())
        assert demo.end() == 1
        assert demo.err.startswith(message)
        assert demo.err.count("\n") == 1
    assert not new.exists()


def test_a_file_that_could_not_be_begun_is_not_in_the_way_of_the_next_try(tmp_path: Path) -> None:
    saved = runpy.run_path(str(ROOT / DEMO[0]))["saved"]
    with pytest.raises(AudioError, match=r"kept\.wav: can't be written to: "):
        saved(tmp_path / "kept.wav", -1).__enter__()
    with saved(tmp_path / "kept.wav", RATE_HZ) as keep:
        keep(tone("low"))
    assert soundfile.info(tmp_path / "kept.wav").frames == len(tone("low"))


def test_a_saved_file_never_grows_beyond_what_its_header_can_state(tmp_path: Path) -> None:
    saved = runpy.run_path(str(ROOT / DEMO[0]), {"__name__": "listen"})["saved"]
    saved.__wrapped__.__globals__["MOST_SAVED"] = len(tone("low"))
    with saved(tmp_path / "kept.wav", RATE_HZ) as keep:
        keep(tone("low"))
        with pytest.raises(AudioError, match=r"kept\.wav: a WAV file can't hold more than this; save what follows"):
            keep(tone("low")[:1])
    assert soundfile.info(tmp_path / "kept.wav").frames == len(tone("low"))


@pytest.mark.audio
def test_a_full_disk_is_said(heard: VirtualMicrophone, tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    demo = Demo(tmp_path, heard, "bundle", "--save", kept, program=of_tones(limit))
    assert demo.end() == 1
    assert demo.err.splitlines()[-1].startswith(f"Error: {kept}: can't be written to: ")


@pytest.mark.parametrize(
    ("lack", "arguments", "code", "message"),
    [
        (
            "sys.modules['sounddevice'] = None",
            ["bundle"],
            1,
            "Error: sounddevice is not installed, and the microphone needs it; run: pip install '.[microphone]'",
        ),
        (
            "import ctypes.util, platform; ctypes.util.find_library = lambda name: None; platform.system = lambda: ''",
            ["--list"],
            1,
            "Error: PortAudio library not found; install it, on Debian by: apt install libportaudio2",
        ),
        ("", [], 2, "Error: give the folder of a bundle, such as build/synthetic/bundle"),
    ],
)
def test_what_is_missing_is_named_in_one_line(lack: str, arguments: list[str], code: int, message: str) -> None:
    command = [sys.executable, *of_tones(lack), *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == code
    assert result.stderr.splitlines()[-1] == message
    assert len(result.stderr.splitlines()) == 1 or "Usage:" in result.stderr


def test_what_is_no_bundle_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, *DEMO, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.fullmatch(
        r"Error: .*commands\.json: no such file; run make, or give the folder of a bundle.*\n", result.stderr
    )


# --- the screen ---


def test_no_scores_are_shown_once_it_is_silent() -> None:
    """Silent windows aren't scored, so the last scores would stand there for good."""
    ear = runpy.run_path(str(ROOT / DEMO[0]))["Ear"](
        SimpleNamespace(score=hears_tones, labels=LABELS, thresholds=THRESHOLDS, audio=SOUND, listen=LISTEN)
    )
    ear.spotter.feed(tone("high", 1.0))
    assert ear.scores.argmax() == LABELS.index("high")
    ear.spotter.feed(np.zeros(RATE_HZ * 3, np.float32))
    assert not ear.scores.any()


@pytest.mark.audio
@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_shows_level_scores_words_and_overruns(columns: int, heard: VirtualMicrophone) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, *of_tones(), "bundle"]
    environment = {**heard.environment, "TERM": "xterm"}
    demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    begun = threading.Event()

    def read() -> None:
        try:
            while piece := os.read(ours, 65_536):
                shown.extend(piece)
                if b"1 s heard" in shown:
                    begun.set()
        except OSError:  # the other side was closed: it has ended
            os.close(ours)

    reading = threading.Thread(target=read)
    reading.start()
    assert begun.wait(PATIENCE_S)
    heard.play(tones("low", "high"))
    demo.send_signal(signal.SIGINT)
    assert demo.wait(PATIENCE_S) == 0
    reading.join()
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()))
    assert max(map(len, lines)) <= columns
    assert any(re.fullmatch(r"level [━╸╺ ]+ +-1[01] dBFS *", line) for line in lines)  # a tone of 0.3
    assert any(re.match(r"00:00:.*  low *$", line) for line in lines)
    assert any(re.search(r"high +━+.* (0\.[6-9]\d|1\.00)", line) for line in lines)
    assert any(re.match(r"\d+ s heard, 0 overruns", line) for line in lines)
