"""One take of a word by a microphone: whether it can be used, and which window of it is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Audio
from pipeline.device import audio
from pipeline.device.audio import Samples, amplitude, decibels
from pipeline.errors import AudioError

# What is heard of one take: a countdown, then the time to speak in, or to be silent in.
COUNTDOWN_S = 1.5
SETTLING_S = 0.3  # of the countdown: a device wakes up, and the key that was pressed is let go
HEAD_START_S = 0.5  # some speak before the countdown is over
REACTION_S = 1.0  # beside one window
ROOM_S = 15  # its tenths, for validation and testing, are longer than a window

_FRAME_MS = 10
# The word is what is louder than the room by so much, than its own loudest frame less so much, and than this.
_ABOVE_ROOM_DB = 6.0
_BELOW_PEAK_DB = -35.0  # a word's echo is not the word
_SILENT_DBFS = -70.0
_ROOM_PERCENTILE = 70  # of its frames: a bang, or a word begun too early, is not the room
_GAP_MS = 200  # within a word: before a plosive, or between the words of a phrase
_CLICK_MS = 40  # what stands alone and is shorter is a key, a mouse or a chair
_SHORTEST_MS = 120
_LEAST_SNR_DB = 10.0
_QUIETEST_DBFS = -40.0  # at its peak
_CLIPPED_LEVEL = 0.99  # less than 1: resampled, what was flat no longer is
_CLIPPED_SAMPLES = 3


def speaking_s(sound: Audio) -> float:
    """Time to say a word in, after the countdown."""
    return sound.clip_ms / 1000 + REACTION_S


def after_countdown(heard: Samples, rate_hz: int) -> Samples:
    """The part of a take in which the word is looked for."""
    return heard[round((COUNTDOWN_S - HEAD_START_S) * rate_hz) :]


def word(heard: Samples, sound: Audio) -> Samples:
    """The window of a take with the word in its middle, or as near to it as can be, and the room's noise around it.

    So recorded clips are like those of Speech Commands, and no window that is learnt from has digital silence in it.

    Parameters
    ----------
    heard
        float32 `(n,)`: `COUNTDOWN_S` and `speaking_s` of sound.

    Returns
    -------
    window
        float32 `(clip_samples,)`.

    Raises
    ------
    AudioError
        If the take can't be used; it says to the speaker what was wrong with it, and what to do.
    """
    rate_hz = sound.sample_rate_hz
    spoken = after_countdown(heard, rate_hz)
    room = heard[round(SETTLING_S * rate_hz) : -len(spoken)]
    _refuse_dead(spoken)
    levels, room_levels = _levels(spoken, rate_hz), _levels(room, rate_hz)
    start, end = _place(levels, room_levels)
    if start == 0:
        raise AudioError("it had begun before the countdown was over: wait for its end, then speak")
    if end == len(levels):
        raise AudioError("it went on to the end of the recording: speak as soon as the countdown is over")
    word_ms = (end - start) * _FRAME_MS
    if word_ms > sound.clip_ms:
        lasted = f"it lasted {word_ms / 1000:.1f} s and the window is {sound.clip_ms / 1000:.1f} s"
        raise AudioError(f"{lasted}: say it once and faster, with no other sound")
    middle = (start + end) * _FRAME_MS * rate_hz // 2000
    first = min(max(0, middle - sound.clip_samples // 2), len(spoken) - sound.clip_samples)
    window = spoken[first : first + sound.clip_samples]
    _refuse_clipped(window)
    _refuse_faint(window, levels[start:end], room_levels)
    if word_ms < _SHORTEST_MS:
        raise AudioError(f"it lasted {word_ms / 1000:.2f} s, too short for a word: say it again")
    return window


def room(heard: Samples, sound: Audio) -> Samples:
    """What follows the countdown, in which nobody spoke.

    Raises
    ------
    AudioError
        If it can't be used.
    """
    silence = heard[round(COUNTDOWN_S * sound.sample_rate_hz) :]
    _refuse_dead(silence)
    _refuse_clipped(silence)
    return silence


def _levels(samples: Samples, rate_hz: int) -> NDArray[np.floating]:
    """Root mean square of each frame without its mean: the offset that cheap microphones have is no sound."""
    frame = rate_hz * _FRAME_MS // 1000
    return np.asarray(samples[: len(samples) // frame * frame].reshape(-1, frame).std(axis=1))


def _place(levels: NDArray[np.floating], room: NDArray[np.floating]) -> tuple[int, int]:
    """First frame of the word, and the frame after its last."""
    above_room = float(np.percentile(room, _ROOM_PERCENTILE)) * amplitude(_ABOVE_ROOM_DB)
    near_peak = float(levels.max()) * amplitude(_BELOW_PEAK_DB)
    loud = np.flatnonzero(levels > max(above_room, near_peak, amplitude(_SILENT_DBFS)))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > _GAP_MS // _FRAME_MS) + 1)
    parts = [part for part in parts if len(part) >= _CLICK_MS // _FRAME_MS]
    if not parts:
        raise AudioError("nothing but the room was heard: say it louder, or closer to the microphone")
    return int(parts[0][0]), int(parts[-1][-1]) + 1


def _refuse_dead(samples: Samples) -> None:
    if np.ptp(samples) == 0:
        raise AudioError("no sound came at all: is the microphone muted, or this program not allowed to hear it?")


def _refuse_clipped(samples: Samples) -> None:
    if np.count_nonzero(np.abs(samples) >= _CLIPPED_LEVEL) >= _CLIPPED_SAMPLES:
        raise AudioError("it was clipped: speak less loud or farther away, or turn the microphone's level down")


def _refuse_faint(window: Samples, word: NDArray[np.floating], room: NDArray[np.floating]) -> None:
    peak_dbfs = decibels(float(np.abs(window).max()))
    if peak_dbfs < _QUIETEST_DBFS:
        louder = "come closer, or turn the microphone's level up"
        raise AudioError(f"it was too quiet, {peak_dbfs:.0f} dBFS at its peak: {louder}")
    snr_db = decibels(audio.rms(word)) - decibels(float(np.median(room)))
    if snr_db < _LEAST_SNR_DB:
        raise AudioError(f"it was only {snr_db:.0f} dB louder than the room: come closer, or find a quieter place")
