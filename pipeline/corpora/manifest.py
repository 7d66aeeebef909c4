"""The one form in which every corpus is handed on: a table of clips, and a table of those that can't be used."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.config import BACKGROUND_NOISE, SILENCE, TALK, UNKNOWN, Audio, Settings
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.errors import AudioError, CorpusError

CLIPS = "corpus.csv"
LABELS = "labels.txt"
REJECTED = "rejected.csv"
ABOUT = "about.json"

_ABOUT = ("split_by", "warnings", "licence", "language", "pronunciations")  # what is kept of `Found`
_ERRORS = "surrogateescape"  # a file name may hold bytes that are no UTF-8

TRAINING, VALIDATION, TESTING = "training", "validation", "testing"
SPLITS = (TRAINING, VALIDATION, TESTING)
OFFICIAL = "official_testing"  # the published test archive of Speech Commands, where it is at hand
OTHERS = "others"  # to measure on only: testing clips of other words that weren't drawn, noise that no training has
LEFT_OUT = "left_out"  # to measure on only: takes of who a recogniser is personalised for


@dataclass(frozen=True, order=True)
class Clip:
    """One clip of the corpus.

    `path` is relative to the corpus folder for a clip that the stage made, absolute for a clip of an outside
    source. `label` is the class it is learnt as, or `_background_noise_` or `_talk_` for sound to make examples with.
    """

    path: str
    label: str
    speaker: str
    split: str
    source: str
    word: str
    sha256: str


@dataclass(frozen=True, order=True)
class Rejected:
    path: str
    reason: str


@dataclass(frozen=True, order=True)
class Candidate:
    """A sound file that a corpus offers, not looked into yet."""

    path: Path
    word: str
    speaker: str
    split: str
    source: str


@dataclass(frozen=True)
class Found:
    """What one corpus offers: clips of keywords and of other words, recordings of noise, what to warn of and to show.

    A candidate whose word is no keyword is learnt as `_unknown_`.
    """

    keywords: tuple[str, ...]
    candidates: list[Candidate]
    licence: str  # of the recordings, and whom to name
    noise: list[Path] = field(default_factory=list)
    split_by: str = "speaker"  # what no two splits share: a speaker, a voice, or only a take
    warnings: list[str] = field(default_factory=list)
    language: str = ""  # of synthetic keywords, as eSpeak NG names it
    pronunciations: dict[str, dict[str, str]] = field(default_factory=dict)  # theirs: word → accent → IPA


def look_at(candidate: Candidate, keywords: Sequence[str], folder: Path, settings: Settings) -> Clip | Rejected:
    """Decode a candidate: a clip of the corpus in `folder`, or the reason why it can't be used."""
    try:
        audio.read(candidate.path, settings.audio.sample_rate_hz, settings.corpus.min_clip_ms)
    except AudioError as error:
        return rejection(candidate.path, error)
    known = candidate.word in keywords or candidate.word in (SILENCE, TALK, BACKGROUND_NOISE)
    label = candidate.word if known else UNKNOWN
    return clip_of(candidate.path, label, candidate.word, candidate.speaker, candidate.split, candidate.source, folder)


def rejection(path: Path, error: AudioError) -> Rejected:
    return Rejected(str(path), str(error).removeprefix(f"{path}: "))


def clip_of(path: Path, label: str, word: str, speaker: str, split: str, source: str, folder: Path) -> Clip:
    """A sound file as a clip of the corpus in `folder`, with the digest of its content."""
    inside = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path.absolute())
    return Clip(inside, label, speaker, split, source, word, hashlib.sha256(path.read_bytes()).hexdigest())


def labels(keywords: Sequence[str]) -> list[str]:
    """Silence and unknown first, then the keywords in the order in which they were given."""
    return [SILENCE, UNKNOWN, *keywords]


def write(folder: Path, clips: Iterable[Clip], names: Sequence[str]) -> None:
    """Write the table of clips, sorted, and the labels."""
    write_rows(folder / CLIPS, [f.name for f in fields(Clip)], [astuple(clip) for clip in sorted(clips)])
    (folder / LABELS).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def write_rejected(folder: Path, rejected: Iterable[Rejected]) -> None:
    write_rows(folder / REJECTED, [f.name for f in fields(Rejected)], [astuple(row) for row in sorted(rejected)])


def read(folder: Path) -> list[Clip]:
    """All clips of a corpus; where there may be millions, `scan` and `read_at` need less memory."""
    return [clip for _, clip in scan(folder)]


def scan(folder: Path) -> Iterator[tuple[int, Clip]]:
    """Every clip, one after the other, each with the place of its row in the file, which `read_at` takes."""
    place = 0

    def lines(file: BinaryIO) -> Iterator[str]:
        nonlocal place
        for line in file:
            place += len(line)
            yield line.decode("utf-8", _ERRORS)

    with (folder / CLIPS).open("rb") as file:
        rows = csv.reader(lines(file))
        next(rows)  # the header
        start = place
        for row in rows:
            yield start, Clip(*row)
            start = place


def read_at(folder: Path, places: Iterable[int]) -> list[Clip]:
    """The clips whose rows are at these places of the file."""
    clips = []
    with (folder / CLIPS).open("rb") as file:
        for place in places:
            file.seek(place)
            clips.append(Clip(*next(csv.reader(line.decode("utf-8", _ERRORS) for line in file))))
    return clips


def write_about(folder: Path, found: Found) -> None:
    """Keep what a reader of the figures must know of the corpus."""
    about = {name: getattr(found, name) for name in _ABOUT}
    (folder / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8", errors=_ERRORS)


def read_about(folder: Path) -> dict[str, Any]:
    """Those of `Found` that are kept, by name."""
    return dict(json.loads((folder / ABOUT).read_text(encoding="utf-8", errors=_ERRORS)))


def read_labels(folder: Path) -> list[str]:
    return (folder / LABELS).read_text(encoding="utf-8").splitlines()


def examples(clips: Iterable[Clip], split: str) -> list[Clip]:
    """Clips of a split that stand for a label."""
    return [clip for clip in clips if clip.split == split and is_example(clip)]


def is_example(clip: Clip) -> bool:
    """Whether it stands for a label; recordings of noise and talk are what others are made with."""
    return clip.label not in (BACKGROUND_NOISE, TALK)


def recordings(clips: Iterable[Clip], split: str, label: str) -> list[Clip]:
    """Noise (`_background_noise_`) or talk (`_talk_`) of a split."""
    return [clip for clip in clips if clip.split == split and clip.label == label]


def sound(folder: Path, clip: Clip, sample_rate_hz: int) -> Samples:
    """A clip's sound, float32 `(n,)`; raises as `content` does."""
    return audio.decode(content(folder, clip), sample_rate_hz)


def window(folder: Path, clip: Clip, settings: Audio) -> Samples:
    """A clip's sound as one window, float32 `(clip_samples,)`."""
    return audio.fit(sound(folder, clip, settings.sample_rate_hz), settings.clip_samples)


def content(folder: Path, clip: Clip) -> bytes:
    """Bytes of a clip's file, as they were when the corpus was made.

    Raises
    ------
    CorpusError
        If the file is gone or was edited since.
    """
    path = os.path.join(folder, clip.path)  # a Path would take as long as the digest
    try:
        with open(path, "rb") as file:
            found = file.read()
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror} since the corpus was made; run: make corpus") from None
    if hashlib.sha256(found).hexdigest() != clip.sha256:
        raise CorpusError(f"{path}: changed since the corpus was made; run: make corpus")
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table that `write_rows` wrote: a row as column → cell."""
    with path.open(newline="", encoding="utf-8", errors=_ERRORS) as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, header: list[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table; file names in it may hold any bytes."""
    with path.open("w", newline="", encoding="utf-8", errors=_ERRORS) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
