"""A corpus of synthetic speech: eSpeak NG says every word in many accents and voices.

A split is a set of voice variants, in all accents, and a set of unknown words, so that neither the voices nor the
unknown words of one split are in another.
"""

from __future__ import annotations

import math
import multiprocessing
import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import resources
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np

from pipeline.config import TEN_WORDS, Corpus, Settings
from pipeline.corpora import espeak
from pipeline.corpora.manifest import TESTING, TRAINING, VALIDATION, Candidate, Found
from pipeline.corpora.noise import seeded
from pipeline.corpora.process import in_fresh_process
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.errors import CorpusError

# Drawn anew for each clip, ends included. Words said alone are slower than running speech: at these rates the
# ten keywords last 0.2 to 1 s.
RATE_WPM = (105, 160)
PITCH = (20, 80)
PITCH_RANGE = (20, 80)
PEAK_DBFS = (-18.0, -1.0)

TRIM_DB = -50.0  # below the peak; final fricatives are this faint
SILENT_PEAK = 3e-4
TRIM_MARGIN_MS = 20

LICENCE = "made by eSpeak NG, whose own licence, GPL-3, does not cover what it says"
BROKEN_OFF = "a process of eSpeak NG broke off; run: make corpus"


@dataclass(frozen=True)
class _Line:
    """One clip that a voice has to say."""

    word: str
    take: int
    file: str


@dataclass(frozen=True)
class _Script:
    """All that one voice has to say, in order."""

    accent: str
    variant: str
    split: str
    lines: tuple[_Line, ...]

    @property
    def voice(self) -> str:
        return f"{self.accent}+{self.variant}"


def find(settings: Settings, folder: Path, workers: int | None = None) -> Found:
    """Say all keywords and unknown words, as 16-bit WAV in `folder/clips/<voice>`.

    Voices that an interrupted run has finished are kept: `folder` must come from the same settings.

    Parameters
    ----------
    workers
        Processes at a time, by default one for each core; it changes no byte.

    Returns
    -------
    found
        A candidate's speaker is the name of the voice variant, without the accent.

    Raises
    ------
    CorpusError
        If a keyword can't be said, or eSpeak NG has no such accent.
    MissingExtra
        If eSpeak NG isn't installed.
    """
    import joblib  # not at the top: every voice process imports this module

    corpus = settings.corpus
    keywords = corpus.keywords or TEN_WORDS
    _check_letters(keywords, corpus.accents)
    usable = espeak.variants()
    order = seeded(corpus.seed, "variants").permutation(len(usable))
    variants = [usable[index] for index in order[: corpus.variants]]
    context = _clean_context()
    lengths_ms, homophones = in_fresh_process(
        context, BROKEN_OFF, _probe, keywords, _vocabulary(), corpus.accents, variants[0]
    )
    warnings = _check_lengths(lengths_ms, settings)
    if len(variants) < corpus.variants:
        warnings.append(f"corpus.variants is {corpus.variants}, eSpeak NG has {len(variants)}: all are used")
    unknown = [word for word in _vocabulary() if word not in homophones]
    scripts = _scripts(corpus, keywords, unknown, variants)
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    _speak_all(scripts, clips.resolve(), settings, context, workers or joblib.cpu_count())
    candidates = [
        Candidate(clips / script.voice / line.file, line.word, script.variant, script.split, "synthetic")
        for script in scripts
        for line in script.lines
    ]
    return Found(keywords, candidates, LICENCE, split_by="voice", warnings=warnings)


def _vocabulary() -> list[str]:
    """Words for the unknown class: common in English, of varied sounds."""
    return (resources.files("pipeline.corpora") / "vocabulary.txt").read_text(encoding="utf-8").split()


def _scripts(corpus: Corpus, keywords: Sequence[str], unknown: Sequence[str], variants: Sequence[str]) -> list[_Script]:
    """Which voice says what, and for which split."""
    words_of = _deal(unknown, corpus, seeded(corpus.seed, "words"))
    said = [(word, take) for word in keywords for take in range(corpus.takes)]
    scripts = []
    for split, names in _deal(variants, corpus, seeded(corpus.seed, "splits")).items():
        percent = corpus.training_unknown_percent if split == TRAINING else corpus.unknown_percent
        per_voice = math.ceil(len(said) * percent / 100)
        words = words_of[split]
        voices = [(accent, name) for name in names for accent in corpus.accents]
        for number, (accent, variant) in enumerate(voices):
            # The words are dealt out in turn, so that all are heard equally often.
            turns = range(number * per_voice, (number + 1) * per_voice)
            others = [(words[turn % len(words)], turn // len(words)) for turn in turns]
            lines = tuple(_Line(word, take, _file_name(i, word)) for i, (word, take) in enumerate(said + others))
            scripts.append(_Script(accent, variant, split, lines))
    return sorted(scripts, key=lambda script: script.voice)


def _deal(names: Sequence[str], corpus: Corpus, generator: np.random.Generator) -> dict[str, list[str]]:
    """Divide names among the splits by their percentages, at least one to each."""
    count = len(names)
    validation = min(max(1, round(count * corpus.validation_percent / 100)), count - 2)
    testing = min(max(1, round(count * corpus.testing_percent / 100)), count - validation - 1)
    shuffled = [names[index] for index in generator.permutation(count)]
    return {
        VALIDATION: shuffled[:validation],
        TESTING: shuffled[validation : validation + testing],
        TRAINING: shuffled[validation + testing :],
    }


def _file_name(index: int, word: str) -> str:
    """A name that every file system takes, and that shows the word as well as it can."""
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    return f"{index:03}_{re.sub('[^a-z0-9]+', '-', plain)[:32].strip('-')}.wav"


def _check_letters(keywords: Iterable[str], accents: Iterable[str]) -> None:
    """Refuse what eSpeak NG would not say but describe, such as “grinning face” or “Chinese letter”."""
    english = any(accent.startswith("en") for accent in accents)
    for word in keywords:
        if not any(character.isalnum() for character in word):
            raise CorpusError(f"corpus.keywords: {word!r} has no letter to say; write the word as it is spoken")
        foreign = [c for c in word if c.isalpha() and not unicodedata.name(c, "").startswith("LATIN")]
        if english and foreign:
            remedy = "use Latin letters, or set corpus.accents to voices of that language"
            raise CorpusError(f"corpus.keywords: English voices can't read {foreign[0]!r} in {word!r}; {remedy}")


def _check_lengths(lengths_ms: dict[str, float], settings: Settings) -> list[str]:
    """Refuse keywords that are silent or too short, warn of long ones."""
    min_ms, clip_ms = settings.corpus.min_clip_ms, settings.audio.clip_ms
    for word, length_ms in lengths_ms.items():
        if length_ms < max(min_ms, 1):
            spoken = f"eSpeak NG says {word!r} in {length_ms:.0f} ms, corpus.min_clip_ms is {min_ms}"
            raise CorpusError(f"corpus.keywords: {spoken}; write it as it is spoken, or choose a longer word")
    return [
        f"{word!r} lasts about {length_ms:.0f} ms, a window {clip_ms} ms: only its loudest part is learnt; "
        "choose a shorter word or raise audio.clip_ms"
        for word, length_ms in lengths_ms.items()
        if length_ms > clip_ms
    ]


# What follows runs in, or starts, processes of one voice each: the library's state would otherwise let the clips of
# a voice depend on what the process said before.


def _clean_context() -> BaseContext:
    """How to start processes that hold nothing of this one, fast where the system can fork."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([__name__])
    return context


def _speak_all(scripts: Sequence[_Script], clips: Path, settings: Settings, context: BaseContext, workers: int) -> None:
    from rich.console import Console
    from rich.progress import track

    missing = [script for script in scripts if not (clips / script.voice).exists()]
    with ThreadPoolExecutor(workers) as threads:
        voices = [
            threads.submit(in_fresh_process, context, BROKEN_OFF, _speak, script, clips, settings) for script in missing
        ]
        try:
            for voice in track(as_completed(voices), "speaking", len(voices), console=Console(stderr=True)):
                voice.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _speak(script: _Script, clips: Path, settings: Settings) -> None:
    """Write all clips of one voice; its folder appears when it is complete."""
    rate_hz = settings.audio.sample_rate_hz
    work = clips / f"{script.voice}.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    speaker = espeak.ESpeak()
    speaker.set_voice(script.accent, script.variant)
    for line in script.lines:
        generator = seeded(settings.corpus.seed, script.voice, line.word, line.take)
        spoken = speaker.say(
            line.word,
            rate_wpm=int(generator.integers(*RATE_WPM, endpoint=True)),
            pitch=int(generator.integers(*PITCH, endpoint=True)),
            pitch_range=int(generator.integers(*PITCH_RANGE, endpoint=True)),
        )
        clip = audio.resample(_trim(spoken, speaker.sample_rate_hz), speaker.sample_rate_hz, rate_hz)
        peak = 10 ** (generator.uniform(*PEAK_DBFS) / 20)
        # A word that this voice can't say becomes an empty file, which the stage reports as rejected.
        audio.write(work / line.file, clip * np.float32(peak / np.abs(clip).max(initial=1e-3)), rate_hz)
    work.rename(clips / script.voice)


def _probe(
    keywords: Sequence[str], vocabulary: Sequence[str], accents: Sequence[str], variant: str
) -> tuple[dict[str, float], set[str]]:
    """Length of each keyword in ms, 0 without sound; and the vocabulary that is or sounds like a keyword."""
    speaker = espeak.ESpeak()
    speaker.set_voice(accents[0], variant)
    lengths_ms = {}
    for word in keywords:
        spoken = speaker.say(word, rate_wpm=sum(RATE_WPM) // 2, pitch=50, pitch_range=50)
        lengths_ms[word] = 1000 * len(_trim(spoken, speaker.sample_rate_hz)) / speaker.sample_rate_hz
    folded = {word.casefold() for word in keywords}
    homophones = {word for word in vocabulary if word.casefold() in folded}
    for accent in accents:
        speaker.set_voice(accent, variant)
        sounds = {speaker.phonemes(word) for word in keywords}
        homophones |= {word for word in vocabulary if speaker.phonemes(word) in sounds}
    return lengths_ms, homophones


def _trim(samples: Samples, rate_hz: int) -> Samples:
    """Without the near-silence at both ends; empty if there is nothing else."""
    level = np.abs(samples)
    loud = np.flatnonzero(level > max(level.max(initial=0) * 10 ** (TRIM_DB / 20), SILENT_PEAK))
    if not len(loud):
        return samples[:0]
    margin = TRIM_MARGIN_MS * rate_hz // 1000
    return samples[max(0, loud[0] - margin) : loud[-1] + margin + 1]
