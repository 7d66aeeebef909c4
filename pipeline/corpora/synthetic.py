"""A corpus of synthetic speech: eSpeak NG says every word in many accents and voices.

A split is a set of voice variants, in all accents, and a set of unknown words, so that neither the voices nor the
unknown words of one split are in another.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.config import TEN_WORDS, Corpus, Settings
from pipeline.corpora import espeak, voices
from pipeline.corpora.manifest import TRAINING, Candidate, Found
from pipeline.corpora.process import in_fresh_process
from pipeline.corpora.voices import Line, Script
from pipeline.errors import CorpusError


def find(settings: Settings, folder: Path, workers: int | None = None) -> Found:
    """Say all keywords and unknown words, as 16-bit WAV in `folder/clips/<voice>`; see `voices.speak_all`.

    Returns
    -------
    found
        A candidate's speaker is the name of the voice variant, without the accent.

    Raises
    ------
    CorpusError
        If words are held out, if a keyword can't be said, or if eSpeak NG has no such accent.
    MissingExtra
        If eSpeak NG isn't installed.
    """
    corpus = settings.corpus
    if corpus.held_out_words:
        anyway = "the other words of synthetic speech are different ones in each split anyway"
        raise CorpusError(f"corpus.held_out_words: {anyway}; remove it, or set CORPUS to folder or speech_commands")
    keywords = corpus.keywords or TEN_WORDS
    _check_letters(keywords, corpus.accents)
    variants = voices.cast(corpus)
    warnings = _check_lengths(keywords, variants[TRAINING][0], settings)
    count = sum(map(len, variants.values()))
    if count < corpus.variants:
        warnings.append(f"corpus.variants is {corpus.variants}, eSpeak NG has {count}: all are used")
    scripts = _scripts(corpus, keywords, voices.other_words(keywords, corpus), variants)
    clips = folder / "clips"
    voices.speak_all(scripts, clips, settings, workers)
    candidates = [
        Candidate(clips / script.voice / line.file, line.text, script.variant, script.split, "synthetic")
        for script in scripts
        for line in script.lines
    ]
    return Found(keywords, candidates, voices.LICENCE, split_by="voice", warnings=warnings)


def _scripts(
    corpus: Corpus,
    keywords: Sequence[str],
    other_words: Mapping[str, Sequence[str]],
    variants: Mapping[str, Sequence[str]],
) -> list[Script]:
    """Which voice says what, and for which split."""
    said = [(word, take) for word in keywords for take in range(corpus.takes)]
    scripts = []
    for split, names in variants.items():
        percent = corpus.training_unknown_percent if split == TRAINING else corpus.unknown_percent
        per_voice = math.ceil(len(said) * percent / 100)
        words = other_words[split]
        for number, (variant, accent) in enumerate(itertools.product(names, corpus.accents)):
            # The words are dealt out in turn, so that all are heard equally often.
            turns = range(number * per_voice, (number + 1) * per_voice)
            others = [(words[turn % len(words)], turn // len(words)) for turn in turns]
            lines = tuple(Line(word, take, _file_name(i, word)) for i, (word, take) in enumerate(said + others))
            scripts.append(Script(accent, variant, split, lines))
    return sorted(scripts, key=lambda script: script.voice)


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


def _check_lengths(keywords: Sequence[str], variant: str, settings: Settings) -> list[str]:
    """Refuse keywords that are silent or too short, warn of long ones."""
    min_ms, clip_ms, accent = settings.corpus.min_clip_ms, settings.audio.clip_ms, settings.corpus.accents[0]
    lengths_ms = in_fresh_process(voices.clean_context(), voices.BROKEN_OFF, _lengths_ms, keywords, accent, variant)
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


def _lengths_ms(keywords: Sequence[str], accent: str, variant: str) -> dict[str, float]:
    """How long each keyword is, 0 if nothing is heard; in a process of its own."""
    speaker = espeak.ESpeak()
    speaker.set_voice(accent, variant)
    lengths_ms = {}
    for word in keywords:
        spoken = speaker.say(word, rate_wpm=sum(voices.ALONE_WPM) // 2, pitch=50, pitch_range=50)
        lengths_ms[word] = 1000 * len(voices.trim(spoken, speaker.sample_rate_hz)) / speaker.sample_rate_hz
    return lengths_ms
