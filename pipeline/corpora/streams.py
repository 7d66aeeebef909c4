"""Sound that goes on, with words at known times or with none: what a recogniser is measured on as it will be used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config import BACKGROUND_NOISE, SILENCE, TALK, UNKNOWN, Audio, Settings
from pipeline.corpora import manifest
from pipeline.corpora.folder import SOUND_SUFFIXES, counts
from pipeline.corpora.manifest import Clip
from pipeline.corpora.noise import seeded
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.errors import CorpusError, StaleInput
from pipeline.receipt import sha256

NEGATIVE = "negative.json"  # which recordings thresholds were chosen on
SPEECH_DBFS = -26.0  # root mean square of a word's loud part, the usual level of speech (ITU-T P.56)
TALK_SNR_DB = 30.0
BETWEEN_WORDS_S = (1.5, 3.0)
BETWEEN_SENTENCES_S = (0.1, 0.8)
_FADE_MS = 10  # a clip's own noise must not begin with a click
_QUIETEST_RMS = 1e-5


@dataclass(frozen=True)
class Said:
    """A keyword in a stream: where its loud part begins and ends."""

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Segment:
    """The next stretch of a stream, float32 `(n,)`, and the keyword in it, if any; a pause is not counted as heard."""

    samples: Samples
    said: Said | None = None
    is_pause: bool = False


def of(corpus: Path, split: str, settings: Settings) -> dict[str, Iterator[Segment]]:
    """All streams of a split by name: those with words, then those without."""
    sound, streams = settings.audio, settings.streams
    backgrounds = [(BACKGROUND_NOISE, "noise", snr_db) for snr_db in streams.snr_db]
    if settings.corpus.sentences:
        backgrounds.append((TALK, "talk", min(streams.snr_db)))
    made = {
        f"words in {name}, {snr_db:g} dB": words(corpus, split, sound, label, snr_db, streams.seed)
        for label, name, snr_db in backgrounds
    }
    if settings.corpus.sentences:
        made["talk"] = talk(corpus, split, sound, streams.seed)
    if streams.negative:
        made["recordings"] = negative(Path(streams.negative), split, sound)
    return made


class Background:
    """Sound that goes round and round, at root mean square 1."""

    def __init__(self, recordings: Iterable[Samples]) -> None:
        loud = [recording / max(audio.rms(recording), _QUIETEST_RMS) for recording in recordings]
        self._sound = np.concatenate(loud) if loud else np.zeros(1, np.float32)
        self._place = 0

    def take(self, count: int) -> Samples:
        taken = np.take(self._sound, np.arange(self._place, self._place + count), mode="wrap")
        self._place = (self._place + count) % len(self._sound)
        return taken


def words(corpus: Path, split: str, sound: Audio, background_label: str, snr_db: float, seed: int) -> Iterator[Segment]:
    """All words of a split once, keywords and others, each at the usual level of speech, in a background.

    Parameters
    ----------
    background_label
        `_background_noise_` or `_talk_`: recordings of the split that fill the stream.
    snr_db
        Ratio of a word's loud part to the background.
    """
    clips = manifest.read(corpus)
    generator = seeded(seed, "stream", split)
    spoken = [clip for clip in manifest.examples(clips, split) if clip.label != SILENCE]
    background = Background(_read(corpus, manifest.recordings(clips, split, background_label), sound))
    level = audio.amplitude(SPEECH_DBFS - snr_db)
    time = 0
    for n in generator.permutation(len(spoken)):
        word = _at_level(manifest.window(corpus, spoken[n], sound), sound)
        gap = int(generator.uniform(*BETWEEN_WORDS_S) * sound.sample_rate_hz)
        samples = np.float32(level) * background.take(gap + len(word))
        samples[gap:] += word
        yield Segment(np.clip(samples, -1, 1), _said(spoken[n], word, time + gap, sound))
        time += len(samples)


def talk(corpus: Path, split: str, sound: Audio, seed: int) -> Iterator[Segment]:
    """All sentences of a split without keywords, as they are, with short pauses, in a little noise."""
    clips = manifest.read(corpus)
    generator = seeded(seed, "talk", split)
    background = Background(_read(corpus, manifest.recordings(clips, split, BACKGROUND_NOISE), sound))
    for sentence in _read(corpus, manifest.recordings(clips, split, TALK), sound):
        pause = np.zeros(int(generator.uniform(*BETWEEN_SENTENCES_S) * sound.sample_rate_hz), np.float32)
        noise = background.take(len(pause) + len(sentence)) * np.float32(
            audio.rms(sentence) / audio.amplitude(TALK_SNR_DB)
        )
        yield Segment(np.clip(np.concatenate([pause, sentence]) + noise, -1, 1))


def negative(folder: Path, split: str, sound: Audio) -> Iterator[Segment]:
    """Recordings without keywords of one split, one after another; raises as `negative_files` and `audio.stream` do."""
    pause = Segment(np.zeros(sound.clip_samples, np.float32), is_pause=True)
    for path in negative_files(folder, split):
        yield from map(Segment, audio.stream(path, sound.sample_rate_hz))
        yield pause  # no word begins in one recording and ends in the next


def negative_files(folder: Path, split: str) -> list[Path]:
    """The recordings of one split: the sorted files go to validation and to testing in turn.

    Raises
    ------
    CorpusError
        If there are fewer than two.
    """
    found = (path for path in folder.rglob("*") if counts(path, folder))
    paths = sorted(path for path in found if path.suffix.lower() in SOUND_SUFFIXES)
    if len(paths) < 2:
        raise CorpusError(
            f"{folder}: NEGATIVE must hold two recordings or more, to tune on some and to test on others; "
            f"it has {len(paths)} (.wav, .flac, .mp3 and what else libsndfile reads)"
        )
    return paths[{manifest.VALIDATION: 0, manifest.TESTING: 1}[split] :: 2]


def negative_digests(settings: Settings) -> dict[str, str]:
    """sha256 of each recording that thresholds are chosen on, by its path inside the folder."""
    folder = Path(settings.streams.negative)
    paths = negative_files(folder, manifest.VALIDATION) if settings.streams.negative else []
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def require_same_negatives(settings: Settings, tune: Path) -> None:
    """Refuse to test where other recordings would be tuned on today than were: a test one may be among those.

    Raises
    ------
    StaleInput
    """
    if json.loads((tune / NEGATIVE).read_text(encoding="utf-8")) != negative_digests(settings):
        raise StaleInput(f"stale: {settings.streams.negative} holds other recordings than it did; run: make tune")


def _read(corpus: Path, clips: Sequence[Clip], sound: Audio) -> Iterator[Samples]:
    return (manifest.sound(corpus, clip, sound.sample_rate_hz) for clip in clips)


def _at_level(window: Samples, sound: Audio) -> Samples:
    """The word as loud as all others, and faded in and out."""
    start, end = audio.loud_part(window)
    gain = audio.amplitude(SPEECH_DBFS) / max(audio.rms(window[start : end + 1]), _QUIETEST_RMS)
    fade = np.linspace(0, 1, _FADE_MS * sound.sample_rate_hz // 1000, dtype=np.float32)
    faded = window * np.float32(gain)
    faded[: len(fade)] *= fade
    faded[len(faded) - len(fade) :] *= fade[::-1]
    return faded


def _said(clip: Clip, word: Samples, offset: int, sound: Audio) -> Said | None:
    if clip.label == UNKNOWN:
        return None
    start, end = (offset + place for place in audio.loud_part(word))
    return Said(clip.label, start / sound.sample_rate_hz, end / sound.sample_rate_hz)
