"""Many synthetic voices at work: who says what for which split, each voice in a process of its own."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np

from pipeline.config import Corpus, Settings
from pipeline.corpora import espeak, kokoro, languages
from pipeline.corpora.manifest import TESTING, TRAINING, VALIDATION
from pipeline.corpora.noise import seeded
from pipeline.corpora.process import in_fresh_process
from pipeline.device import audio
from pipeline.device.audio import Samples, amplitude
from pipeline.errors import CorpusError

# Drawn anew for each line, ends included.
PITCH = (20, 80)
PITCH_RANGE = (20, 80)
PEAK_DBFS = (-18.0, -1.0)
# Words said alone are slower than running speech: at these rates the ten keywords last 0.2 to 1 s.
ALONE_WPM = (105, 160)
RUNNING_WPM = (120, 230)

TRIM_DB = -50.0  # below the peak; final fricatives are this faint
SILENT_PEAK = 3e-4
TRIM_MARGIN_MS = 20

LICENCE = "made by eSpeak NG, whose own licence, GPL-3, does not cover what it says"
BROKEN_OFF = "a process of eSpeak NG broke off; run: make corpus"


@dataclass(frozen=True)
class Line:
    """One recording that a voice has to make."""

    text: str
    take: int
    file: str
    rate_wpm: tuple[int, int] = ALONE_WPM  # of eSpeak NG; the other's words are said alone


@dataclass(frozen=True)
class Script:
    """All that one voice has to say, in order."""

    accent: str
    variant: str | kokoro.Voice  # of eSpeak NG, or a voice of the other synthesiser
    split: str
    lines: tuple[Line, ...]

    @property
    def voice(self) -> str:
        return f"{self.accent}+{self.variant}"


def cast(corpus: Corpus) -> dict[str, list[str]]:
    """The voice variants of each split; no two splits share one."""
    usable = espeak.variants()
    order = seeded(corpus.seed, "variants").permutation(len(usable))
    chosen = [usable[index] for index in order[: corpus.variants]]
    return deal(chosen, corpus, seeded(corpus.seed, "splits"))


def kokoro_cast(corpus: Corpus) -> dict[str, list[kokoro.Voice]]:
    """Voices of the accents, each between two of Kokoro's own, for each split; no two splits share one of its own."""
    spoken = [accent for accent in kokoro.ACCENTS if accent in languages.accents(corpus)]
    if not corpus.kokoro_voices or not spoken:
        return {}
    generator = seeded(corpus.seed, "kokoro")
    of_accents = [deal(kokoro.names(accent), corpus, generator) for accent in kokoro.ACCENTS]
    counts = deal([""] * corpus.kokoro_voices, corpus, generator)
    cast = {}
    for split, of_split in counts.items():
        own = [name for dealt in of_accents for name in dealt[split]]
        every = itertools.product(itertools.permutations(own, 2), kokoro.WEIGHT_PERCENT)
        mixtures = [kokoro.Voice(*pair, percent) for pair, percent in every]
        fitting = [voice for voice in mixtures if voice.accent in spoken]
        cast[split] = [fitting[n] for n in generator.permutation(len(fitting))[: len(of_split)]]
    return cast


def without_homophones(words: Sequence[str], others: Sequence[str], corpus: Corpus) -> list[str]:
    """The words that can be read, and neither are nor sound like one of the others or a part of it."""
    parts = [part for other in others for part in _parts(other)]  # else "switch on" may come up by chance
    variant, forbidden = cast(corpus)[TRAINING][0], [*others, *parts]
    accents = languages.accents(corpus)
    found = in_fresh_process(clean_context(), BROKEN_OFF, homophones, forbidden, words, accents, variant)
    return [word for word in words if word not in found]


def _parts(text: str) -> list[str]:
    """Words of a phrase, or of the phonemes of one."""
    if not text.startswith("[["):
        return text.split()
    return [f"[[{part}]]" for part in text.removeprefix("[[").removesuffix("]]").split()]


def kept_out(split: str, keywords: Sequence[str], corpus: Corpus) -> list[str]:
    """What no other word of a split may be or sound like: keywords and, but for testing, the words held out."""
    own = [*keywords, *corpus.pronunciations.values()]
    return own if split == TESTING else [*own, *corpus.held_out_words]


def folder_for(keywords: Sequence[str]) -> str:
    """Where what is said beside these keywords lies: what an interrupted run has made beside others may hold these."""
    return hashlib.sha256("\n".join(keywords).encode()).hexdigest()[:8]


def other_words(keywords: Sequence[str], corpus: Corpus) -> dict[str, list[str]]:
    """Words of the vocabulary for each split, without those that are `kept_out` of it; none is in two splits.

    Raises
    ------
    CorpusError
        If none is left for a split.
    """
    dealt = deal(languages.vocabulary(corpus.language), corpus, seeded(corpus.seed, "words"))
    others = {
        split: without_homophones(words, kept_out(split, keywords, corpus), corpus) for split, words in dealt.items()
    }
    if empty := [split for split, words in others.items() if not words]:
        raise CorpusError(
            f"corpus.language: no other words of {corpus.language!r} are known for {empty[0]}; "
            "record people's words instead (CORPUS=folder), with [corpus] sentences = 0"
        )
    return others


def deal(names: Sequence[str], corpus: Corpus, generator: np.random.Generator) -> dict[str, list[str]]:
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


# What follows runs in, or starts, processes of one voice each: the library's state would otherwise let the clips of
# a voice depend on what the process said before.


def clean_context() -> BaseContext:
    """How to start processes that hold nothing of this one, fast where the system can fork."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([__name__])
    return context


def speak_all(scripts: Sequence[Script], folder: Path, settings: Settings, workers: int | None = None) -> None:
    """Leave what each voice says as 16-bit WAV in `folder/<voice>`.

    Voices that an interrupted run has finished are kept: `folder` must come from the same settings.

    Parameters
    ----------
    workers
        Processes at a time, by default one for each core; it changes no byte.

    Raises
    ------
    CorpusError
        If eSpeak NG has no such accent, or fails on a text.
    MissingExtra
        If eSpeak NG isn't installed.
    """
    import joblib  # not at the top: every voice process imports this module
    from rich.console import Console
    from rich.progress import track

    folder.mkdir(parents=True, exist_ok=True)
    clips, context = folder.resolve(), clean_context()
    missing = [script for script in scripts if not (clips / script.voice).exists()]
    with ThreadPoolExecutor(workers or joblib.cpu_count()) as threads:
        voices = [
            threads.submit(in_fresh_process, context, BROKEN_OFF, _speak, script, clips, settings) for script in missing
        ]
        try:
            for voice in track(as_completed(voices), "speaking", len(voices), console=Console(stderr=True)):
                voice.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _speak(script: Script, clips: Path, settings: Settings) -> None:
    """Write all clips of one voice; its folder appears when it is complete."""
    rate_hz = settings.audio.sample_rate_hz
    work = clips / f"{script.voice}.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    say, spoken_hz = _espeak(script) if isinstance(script.variant, str) else _kokoro(script, script.variant)
    for line in script.lines:
        generator = seeded(settings.corpus.seed, script.voice, line.text, line.take)
        clip = audio.resample(trim(say(line, generator), spoken_hz), spoken_hz, rate_hz)
        peak = amplitude(generator.uniform(*PEAK_DBFS))
        # A word that this voice can't say becomes an empty file, which the stage reports as rejected.
        audio.write(work / line.file, clip * np.float32(peak / np.abs(clip).max(initial=1e-3)), rate_hz)
    work.rename(clips / script.voice)


Say = Callable[[Line, np.random.Generator], Samples]


def _espeak(script: Script) -> tuple[Say, int]:
    """What says a line, and its sample rate in Hz."""
    speaker = espeak.ESpeak()
    speaker.set_voice(script.accent, str(script.variant))

    def say(line: Line, generator: np.random.Generator) -> Samples:
        return speaker.say(
            line.text,
            rate_wpm=int(generator.integers(*line.rate_wpm, endpoint=True)),
            pitch=int(generator.integers(*PITCH, endpoint=True)),
            pitch_range=int(generator.integers(*PITCH_RANGE, endpoint=True)),
        )

    return say, speaker.sample_rate_hz


def _kokoro(script: Script, voice: kokoro.Voice) -> tuple[Say, int]:
    """The same with Kokoro; eSpeak NG transcribes."""
    reader, speaker = espeak.ESpeak(), kokoro.Kokoro()
    reader.set_voice(script.accent, espeak.variants()[0])

    def say(line: Line, generator: np.random.Generator) -> Samples:
        signs = kokoro.spelt(reader.transcribe(line.text))
        speed, release_ms = generator.uniform(*kokoro.SPEED), generator.uniform(*kokoro.RELEASE_MS)
        return speaker.say(signs, voice, speed=speed, release_ms=release_ms)

    return say, kokoro.SAMPLE_RATE_HZ


def homophones(words: Sequence[str], vocabulary: Sequence[str], accents: Sequence[str], variant: str) -> set[str]:
    """Those of the vocabulary that are one of the words, or in any accent sound like one or can't be read."""
    speaker = espeak.ESpeak()
    folded = {word.casefold() for word in words}
    found = {word for word in vocabulary if word.casefold() in folded}
    for accent in accents:
        speaker.set_voice(accent, variant)
        sounds = {speaker.phonemes(word) for word in words}
        read = {word: speaker.phonemes(word) for word in vocabulary}
        found |= {word for word, sound in read.items() if sound in sounds or languages.is_read_as_another(sound)}
    return found


def trim(samples: Samples, rate_hz: int) -> Samples:
    """Without the near-silence at both ends; empty if there is nothing else."""
    level = np.abs(samples)
    loud = np.flatnonzero(level > max(level.max(initial=0) * amplitude(TRIM_DB), SILENT_PEAK))
    if not len(loud):
        return samples[:0]
    margin = TRIM_MARGIN_MS * rate_hz // 1000
    return samples[max(0, loud[0] - margin) : loud[-1] + margin + 1]
