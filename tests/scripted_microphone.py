"""A microphone that hears what it is told to, much faster than sound; for tests, also in a process of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from test_take import RATE_HZ, heard, noise

from pipeline.device import microphone, take
from pipeline.device.microphone import Device
from pipeline.errors import MicrophoneError

FOR_EVER_S = 60
SOUNDS = {
    "word": heard((0.3, 0.5)),
    "nothing": heard(),
    "clipped": heard((0.3, 0.5), level_dbfs=0).clip(-1, 1),
}


class Scripted:
    """Stands for `Microphone`; each time it hears the next of the sounds."""

    sounds: list[str]

    def __init__(self, device: Device, sample_rate_hz: int) -> None:
        self.time_s, self.overruns = 0.0, 0

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[np.ndarray]:
        name = self.sounds.pop(0)
        room = noise(-60, take.COUNTDOWN_S + take.ROOM_S)
        samples = room if name == "room" else SOUNDS.get(name, SOUNDS["word"])
        for start in range(0, len(samples), RATE_HZ // 10):
            piece = samples[start : start + RATE_HZ // 10]
            self.time_s += len(piece) / RATE_HZ
            # A system may lose something as it begins, which is no harm.
            self.overruns = round(self.time_s) if name == "lost" else 1
            yield piece
            if name == "unplugged" and self.time_s > 2:
                raise MicrophoneError("scripted: no sound comes from it any more; plug it in, and start again")
            if name == "endless" and self.time_s > 2:
                time.sleep(FOR_EVER_S)


class Output:
    """Stands for `microphone.play`; after the first time there is nothing to play by."""

    is_there = True

    def play(self, samples: np.ndarray, sample_rate_hz: int) -> None:
        if not self.is_there:
            raise MicrophoneError("no sound can be played: no device")
        self.is_there = False
        print(f"heard {len(samples) / sample_rate_hz:.1f} s", flush=True)


def take_over(sounds: list[str]) -> None:
    """Be the only device of this process."""
    Scripted.sounds = sounds
    microphone.Microphone = Scripted  # type: ignore[assignment,misc]
    microphone.devices = lambda: [Device(0, "scripted", "none", RATE_HZ, is_default=True, channels=1)]
    microphone.play = Output().play
