"""Sound of a microphone as it comes: which devices there are, their own sample rates, and what goes wrong with them."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.errors import MicrophoneError, MissingExtra

_BLOCKS_PER_S = 10
_QUEUE_BLOCKS = 5 * _BLOCKS_PER_S  # of sound that waits for whoever is slow
_POLL_S = 0.1
_CLOSING_S = 1.0
_PATIENCE_S = 3.0  # without any sound, before a device is taken for unplugged


@dataclass(frozen=True)
class Device:
    """Something that sound comes from, as the system names it."""

    number: int
    name: str
    system: str  # such as ALSA or Core Audio
    sample_rate_hz: int  # that it takes by itself
    is_default: bool
    channels: int  # at most

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


def devices() -> list[Device]:
    """Devices that sound can be had from.

    Raises
    ------
    MicrophoneError
        If there are none, or the PortAudio library is missing.
    ModuleNotFoundError
        If sounddevice is, of the extra `microphone`.
    """
    sounddevice = _sounddevice()
    systems, default = sounddevice.query_hostapis(), sounddevice.default.device["input"]
    found = [
        Device(
            number=row["index"],
            name=row["name"],
            system=systems[row["hostapi"]]["name"],
            sample_rate_hz=round(row["default_samplerate"]),
            is_default=row["index"] == default,
            channels=row["max_input_channels"],
        )
        for row in sounddevice.query_devices()
        if row["max_input_channels"] > 0
    ]
    if not found:
        raise MicrophoneError("this system has no input device; plug a microphone in, and start again")
    return found


def find(wanted: str | None, among: list[Device]) -> Device:
    """The device of this number or name, or of whose name it is a part; None: the system's own choice.

    Raises
    ------
    MicrophoneError
        If there is none, or several.
    """
    if wanted is None:
        found = [device for device in among if device.is_default]
    else:
        exact = [device for device in among if wanted in (str(device.number), device.name)]
        found = exact or [device for device in among if wanted.casefold() in device.name.casefold()]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(map(str, found or among))
    if found:
        raise MicrophoneError(f"{wanted!r} is in the names of several input devices, choose by number: {listed}")
    missing = "the system has no default input device" if wanted is None else f"no input device {wanted!r}"
    raise MicrophoneError(f"{missing}; there are: {listed}")


class Microphone:
    """Sound of a device while this is entered; iterating gives pieces float32 `(n,)`, mono, at `sample_rate_hz`.

    The device's own thread only puts copies into a queue of a few seconds. What finds no room there, because the last
    pieces took longer to work on than to speak, is lost; so is what the system says that it has lost. Both are counted
    in `overruns`.

    Parameters
    ----------
    device
        One of `devices()`.
    sample_rate_hz
        The rate wanted; a device that can't do it is opened at its own, and its sound is resampled.
    """

    def __init__(self, device: Device, sample_rate_hz: int) -> None:
        self.device, self.sample_rate_hz = device, sample_rate_hz
        self.opened_hz = sample_rate_hz
        self.overruns = 0
        self._given = 0  # samples
        self._stopped = False
        self._waiting: queue.Queue[Samples] = queue.Queue(_QUEUE_BLOCKS)
        self._stream: Any = None

    @property
    def time_s(self) -> float:
        """How much sound it has given."""
        return self._given / self.sample_rate_hz

    def __enter__(self) -> Microphone:
        """Open the device.

        Raises
        ------
        MicrophoneError
            If it can't be.
        """
        sounddevice = _sounddevice()
        settings = self._settings(sounddevice)
        self.opened_hz = settings["samplerate"]
        block = self.opened_hz // _BLOCKS_PER_S
        try:
            self._stream = sounddevice.InputStream(**settings, blocksize=block, callback=self._keep)
            self._stream.start()
        except sounddevice.PortAudioError as error:
            if self._stream:
                self.__exit__()
            raise MicrophoneError(f"{self.device.name}: can't be opened: {error}") from None
        return self

    def _settings(self, sounddevice: Any) -> dict[str, Any]:
        """The first that the device takes: mono before all of its channels, the rate wanted before its own."""
        channel_counts, rates_hz = (1, self.device.channels), (self.sample_rate_hz, self.device.sample_rate_hz)
        for channels, rate_hz in itertools.product(channel_counts, rates_hz):
            settings = {"device": self.device.number, "channels": channels, "dtype": "float32", "samplerate": rate_hz}
            with contextlib.suppress(sounddevice.PortAudioError):
                sounddevice.check_input_settings(**settings)
                break
        return settings  # if it takes none, opening it says why

    def __exit__(self, *_: object) -> None:
        """Close the device. A sound system that hangs would never let go: then it is left, now and when Python ends."""
        closing = threading.Thread(target=self._stream.close, daemon=True)
        closing.start()
        closing.join(_CLOSING_S)
        if closing.is_alive():
            atexit.unregister(_sounddevice()._exit_handler)

    def stop(self) -> None:
        """Take no more sound. What has arrived is still given, then the iteration ends."""
        self._stopped = True

    def __iter__(self) -> Iterator[Samples]:
        """Pieces as they arrive.

        Raises
        ------
        MicrophoneError
            If no more come: the device was unplugged, or fell silent for good.
        """
        resampler = soxr.ResampleStream(self.opened_hz, self.sample_rate_hz, 1, dtype="float32")
        for block in self._blocks():
            yield self._counted(resampler.resample_chunk(block))
        yield self._counted(resampler.resample_chunk(np.zeros(0, np.float32), last=True))

    def _blocks(self) -> Iterator[Samples]:
        waits = 0
        while True:
            try:
                yield self._waiting.get(timeout=_POLL_S)
                waits = 0
            except queue.Empty:
                if self._stopped:
                    return
                waits += 1
                if waits * _POLL_S >= _PATIENCE_S or not self._stream.active:
                    raise MicrophoneError(
                        f"{self.device.name}: no sound comes from it any more; plug it in, and start again"
                    ) from None

    def _counted(self, piece: Samples) -> Samples:
        self._given += len(piece)
        return piece

    def _keep(self, block: Samples, frames: int, time: Any, status: Any) -> None:
        """PortAudio calls this from a thread of its own, and must not wait."""
        if self._stopped:
            return
        self.overruns += status.input_overflow
        try:
            self._waiting.put_nowait(block[:, 0].copy())
        except queue.Full:
            self.overruns += 1


def play(samples: Samples, sample_rate_hz: int) -> None:
    """Let `(samples,)` be heard by the system's default output; returns at their end.

    Raises
    ------
    MicrophoneError
        If there is none, or it can't be opened.
    """
    sounddevice = _sounddevice()
    try:
        own_hz = round(sounddevice.query_devices(kind="output")["default_samplerate"])
        sounddevice.play(audio.resample(samples, sample_rate_hz, own_hz), own_hz, blocking=True)
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(f"no sound can be played: {error}") from None


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep off the screen what ALSA and PortAudio write to standard error by themselves: what fails is also raised."""
    whole = os.dup(2)
    with open(os.devnull, "wb") as nowhere, os.fdopen(os.dup(2), "w", errors="backslashreplace") as ours:
        os.dup2(nowhere.fileno(), 2)
        try:
            with contextlib.redirect_stderr(ours):
                yield
        finally:
            os.dup2(whole, 2)
            os.close(whole)


@contextlib.contextmanager
def extra_needed() -> Iterator[None]:
    """Name the extra of a package that isn't installed.

    Raises
    ------
    MissingExtra
        Where a `ModuleNotFoundError` would be raised.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{error.name} is not installed, and the microphone needs it; run: pip install '.[microphone]'"
        ) from error


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # it is only a door to PortAudio
        raise MicrophoneError(f"{error}; install it, on Debian by: apt install libportaudio2") from None
    return sounddevice
