"""Sound files in, one checked mono array out: audio is looked at once, here at the door."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.errors import AudioError

Samples = NDArray[np.float32]

_STREAM_SAMPLES = 65_536
_CONTAINERS = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3")  # how sound files begin
_RAW_BYTES = 3_200  # a tenth of a second at 16 kHz

_WORD_SHARE = 0.9  # of the energy

MAX_LEVEL = 16.0  # mixing in floating point may go beyond full scale, but not by more than 24 dB

# First bytes of files that stand for audio kept elsewhere.
_POINTERS = {b"version https://git-lfs": "a Git LFS pointer", b"/annex/objects": "a git-annex pointer"}
_POINTER_BYTES = max(map(len, _POINTERS))


def read(path: str | Path, sample_rate_hz: int, min_ms: int = 0) -> Samples:
    """Read a sound file of any format, rate and channel count that libsndfile knows.

    Returns
    -------
    samples
        float32 `(samples,)`, mono, nominally in [-1, 1], at `sample_rate_hz`.

    Raises
    ------
    AudioError
        If the file is unreadable, empty, shorter than `min_ms`, or holds NaN or infinity; with a reason.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}") from None
    try:
        return decode(content, sample_rate_hz, min_ms)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def decode(content: bytes, sample_rate_hz: int, min_ms: int = 0) -> Samples:
    """Like `read`, from the bytes of the file."""
    _refuse_stand_in(content)
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not readable as audio: {error.error_string}") from None
    except MemoryError:
        raise AudioError("not readable as audio: its header promises more than the memory holds") from None
    if not len(samples):
        raise AudioError("no samples")
    check(samples)
    if len(samples) * 1000 < min_ms * rate_hz:
        raise AudioError(f"too short: {len(samples) * 1000 / rate_hz:.0f} ms, at least {min_ms} ms are needed")
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    return resample(mono, rate_hz, sample_rate_hz)


def duration_s(path: Path) -> float:
    """Length of a sound file, by its header.

    Raises
    ------
    AudioError
        If the file is unreadable.
    """
    with _opened(path) as file:
        return float(file.frames / file.samplerate)


def stream(path: Path, sample_rate_hz: int) -> Iterator[Samples]:
    """Sound of a file that may be hours long, piece by piece: float32 `(n,)`, mono, at `sample_rate_hz`.

    Raises
    ------
    AudioError
        If the file is unreadable; where it breaks off in the middle, or holds what `check` refuses, after the pieces
        before that.
    """
    with _opened(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate_hz, 1, dtype="float32")
        for block in file.blocks(_STREAM_SAMPLES, dtype="float32", always_2d=True):
            check(block)
            yield np.asarray(resampler.resample_chunk(block.mean(axis=1)), np.float32)
        yield np.asarray(resampler.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        with path.open("rb", buffering=0) as content:
            _refuse_stand_in(content.read(_POINTER_BYTES))
            content.seek(0)
            # Opened without its name, in which soundfile would see a format.
            with open(content.fileno(), "rb", closefd=False) as nameless, soundfile.SoundFile(nameless) as file:
                yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not readable as audio: {error.error_string}") from None
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}") from None
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def _refuse_stand_in(start: bytes) -> None:
    """Refuse, by its first bytes, a file that has no sound of its own."""
    if not start:
        raise AudioError("empty file")
    for pointer, name in _POINTERS.items():
        if start.startswith(pointer):
            raise AudioError(f"{name} instead of audio; fetch the real file first")


def raw_stream(file: BinaryIO) -> Iterator[Samples]:
    """Sound as it comes: 16-bit little-endian mono, as `arecord -t raw -f S16_LE` writes it; yielded as it arrives.

    Raises
    ------
    AudioError
        If it begins as a sound file does: the header, or compressed sound, would be taken for samples.
    """
    is_first = True
    while content := file.read(_RAW_BYTES):
        if is_first and content.startswith(_CONTAINERS):
            raise AudioError("standard input is a sound file, not raw samples; give the file's name instead")
        is_first = False
        yield np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float32) / np.float32(32_768)


def check(samples: Samples) -> None:
    """Refuse numbers that can't be sound in [-1, 1].

    Raises
    ------
    AudioError
        For NaN, infinity, or values far beyond full scale, as of whole numbers taken for fractions.
    """
    if not np.isfinite(samples).all():
        raise AudioError("holds NaN or infinity")
    loudest = float(np.abs(samples).max(initial=0))
    if loudest > MAX_LEVEL:
        raise AudioError(f"holds values up to {loudest:.3g}, and full scale is 1; divide 16-bit samples by 32768")


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Change the sample rate of `(samples,)` with libsoxr."""
    if from_hz == to_hz:
        return samples
    return np.asarray(soxr.resample(samples, from_hz, to_hz), np.float32)


def write(path: Path, samples: Samples, sample_rate_hz: int) -> None:
    """Write `(samples,)` as 16-bit mono WAV; what lies beyond [-1, 1) is clipped."""
    content = io.BytesIO()
    soundfile.write(content, samples, sample_rate_hz, subtype="PCM_16", format="WAV")
    # Not by soundfile, which doesn't say that a disk is full.
    path.write_bytes(content.getvalue())


def rms(samples: Samples) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(samples))))


def amplitude(decibels: float) -> float:
    """Ratio of amplitudes; of a level in dBFS, the amplitude where full scale is 1."""
    return float(10 ** (decibels / 20))


def decibels(amplitude: float) -> float:
    """Level in dBFS of an amplitude where full scale is 1; -120 for what is less."""
    return float(20 * np.log10(max(amplitude, 1e-6)))


def loud_part(samples: Samples) -> tuple[int, int]:
    """Where the middle 90 % of the energy of `(samples,)` begin and end: what is outside of them isn't the word."""
    energy = np.cumsum(np.square(samples, dtype=np.float64))
    outside = (1 - _WORD_SHARE) / 2
    start, end = np.searchsorted(energy, energy[-1] * np.array([outside, 1 - outside]))
    return int(start), int(end)


def fit(samples: Samples, clip_samples: int) -> Samples:
    """Exactly one window: a shorter clip is centred in silence, of a longer one the loudest part is kept.

    Parameters
    ----------
    samples
        float32 `(n,)`.

    Returns
    -------
    window
        float32 `(clip_samples,)`.
    """
    start = fit_start(samples, clip_samples)
    if len(samples) >= clip_samples:
        return samples[start : start + clip_samples]
    window = np.zeros(clip_samples, np.float32)
    window[-start : len(samples) - start] = samples
    return window


def fit_start(samples: Samples, clip_samples: int) -> int:
    """Where in `(n,)` the window of `fit` begins; below 0 where silence comes before."""
    if len(samples) <= clip_samples:
        return -((clip_samples - len(samples)) // 2)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    return int(np.argmax(energy[clip_samples:] - energy[:-clip_samples]))
