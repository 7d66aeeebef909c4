"""A corpus of synthetic speech: eSpeak NG says every word in many accents and voices, and in English so does Kokoro.

A split is a set of voices, eSpeak NG's variants each in all accents or a part of these, and a set of unknown words, so
that neither the voices nor the unknown words of one split are in another. Some unknown words of training are near ones:
keywords with a sound changed.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.config import Corpus, Settings
from pipeline.corpora import kokoro, languages, pronunciation, voices
from pipeline.corpora.manifest import TRAINING, Candidate, Found
from pipeline.corpora.noise import seeded
from pipeline.corpora.voices import Line, Script
from pipeline.errors import CorpusError

Speaker = tuple[str | kokoro.Voice, str]  # and the accent

log = logging.getLogger(__name__)


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
    said = pronunciation.look_up(settings)
    warnings = pronunciation.check(said, settings)
    for line in pronunciation.lines(said, settings):
        log.info(line)
    warnings += _shortages(corpus)
    near = pronunciation.near_words(corpus)
    if near:
        share = f"{corpus.near_percent:g} % of training's other words"
        log.info("%s are keywords with a sound or two changed (corpus.near_percent)", share)
    speakers = _speakers(corpus)
    scripts = _scripts(corpus, voices.other_words(list(said), corpus), near, speakers)
    candidates = _speak(scripts, folder / "clips", settings, workers)
    ipa = {word: spoken.ipa for word, spoken in said.items()}
    return Found(
        tuple(said), candidates, licence(corpus), split_by="voice", warnings=warnings, language=corpus.language,
        pronunciations=ipa,
    )  # fmt: skip


def beside(settings: Settings, keywords: Sequence[str], folder: Path, workers: int | None = None) -> list[Candidate]:
    """Keywords and as many other words to train on beside people's, as 16-bit WAV below `folder/synthetic`.

    The voices and words are those that a synthetic corpus with the same settings is trained on, dealt out in turn; no
    word is or sounds like one held out. Raises as `find` does.
    """
    corpus = settings.corpus
    if not corpus.synthetic_clips:
        return []
    is_protocol = corpus.kind == "speech_commands" and not corpus.keywords  # nobody chose these words
    named = corpus if corpus.keywords or is_protocol else dataclasses.replace(corpus, keywords=tuple(keywords))
    settings = dataclasses.replace(settings, corpus=named)
    said = pronunciation.look_up(settings)
    for line in [*pronunciation.check(said, settings), *_shortages(named)]:
        log.warning(line)
    others = voices.other_words(keywords, named)[TRAINING]
    near = {
        accent: voices.without_homophones(words, named.held_out_words, named) if named.held_out_words else words
        for accent, words in pronunciation.near_words(named).items()
    }
    cast = _speakers(named)[TRAINING]
    spelt, pairs = list(pronunciation.spelling(named).values()), named.synthetic_clips // 2
    scripts = []
    for number, (variant, accent) in enumerate(cast):
        turns = range(number * pairs // len(cast), (number + 1) * pairs // len(cast))
        own = [(spelt[turn % len(spelt)], turn // len(spelt)) for turn in turns]
        other = _others(turns, others, near.get(accent, ()), named.near_percent)
        if turns:
            scripts.append(Script(accent, variant, TRAINING, _lines([*own, *other])))
    return _speak(scripts, folder / "synthetic" / voices.folder_for(keywords), settings, workers)


def _shortages(corpus: Corpus) -> list[str]:
    """Warnings where there are fewer voices than the settings ask for."""
    count, warnings = sum(map(len, voices.cast(corpus).values())), []
    if count < corpus.variants:
        warnings.append(f"corpus.variants is {corpus.variants}, eSpeak NG has {count}")
    count = sum(map(len, voices.kokoro_cast(corpus).values()))
    if languages.is_english(corpus.language) and count < corpus.kokoro_voices:
        asked, spoken = corpus.kokoro_voices, " and ".join(kokoro.ACCENTS)
        warnings.append(f"corpus.kokoro_voices is {asked}, Kokoro has {count} of these accents: it speaks {spoken}")
    return warnings


def licence(corpus: Corpus) -> str:
    """Of what the voices say."""
    return f"{voices.LICENCE}, {kokoro.LICENCE}" if voices.kokoro_cast(corpus) else voices.LICENCE


def _speak(scripts: Sequence[Script], clips: Path, settings: Settings, workers: int | None) -> list[Candidate]:
    """What is said, and by whom, once it is; see `voices.speak_all`."""
    voices.speak_all(scripts, clips, settings, workers)
    words = {text: word for word, text in pronunciation.spelling(settings.corpus).items()}
    return [
        Candidate(
            clips / script.voice / line.file,
            words.get(line.text, line.text),
            str(script.variant),
            script.split,
            "synthetic",
        )
        for script in scripts
        for line in script.lines
    ]


def _scripts(
    corpus: Corpus,
    other_words: Mapping[str, Sequence[str]],
    near_words: Mapping[str, Sequence[str]],
    speakers: Mapping[str, Sequence[Speaker]],
) -> list[Script]:
    """Which voice says what, and for which split."""
    said = [(text, take) for text in pronunciation.spelling(corpus).values() for take in range(_takes(corpus))]
    scripts = []
    for split, of_split in speakers.items():
        is_training = split == TRAINING
        percent = corpus.training_unknown_percent if is_training else corpus.unknown_percent
        per_voice = math.ceil(len(said) * percent / 100)
        for number, (variant, accent) in enumerate(of_split):
            near = near_words.get(accent, ()) if is_training else ()
            # The words are dealt out in turn, so that all are heard equally often.
            turns = range(number * per_voice, (number + 1) * per_voice)
            others = _others(turns, other_words[split], near, corpus.near_percent)
            scripts.append(Script(accent, variant, split, _lines([*said, *others])))
    return sorted(scripts, key=lambda script: script.voice)


def _speakers(corpus: Corpus) -> dict[str, list[Speaker]]:
    """All voices of each split: eSpeak NG's in every accent, or where Kokoro has any, so many of them, and Kokoro's."""
    accents, neural = languages.accents(corpus), voices.kokoro_cast(corpus)
    speakers: dict[str, list[Speaker]] = {}
    for split, variants in voices.cast(corpus).items():
        of_split: list[Speaker] = list(itertools.product(variants, accents))
        others: list[Speaker] = [(voice, voice.accent) for voice in neural.get(split, ())]
        if others:
            drawn = seeded(corpus.seed, "speakers", split).permutation(len(of_split))[: len(others)]
            of_split = [*(of_split[n] for n in drawn), *others]
        speakers[split] = of_split
    return speakers


def _takes(corpus: Corpus) -> int:
    """Of each keyword by each voice; in a language of few accents as many more as make up for them, about."""
    fewer = len(languages.ENGLISH) // len(languages.of_language(corpus.language))
    return corpus.takes or max(1, fewer)


def _others(
    turns: Iterable[int], words: Sequence[str], near: Sequence[str], near_percent: float
) -> Iterator[tuple[str, int]]:
    """Words other than keywords and their takes; of a hundred, `near_percent` are near ones, where there are any."""
    for turn in turns:
        before, with_this = (math.floor(n * near_percent / 100) if near else 0 for n in (turn, turn + 1))
        pool, place = (near, before) if with_this > before else (words, turn - before)
        yield pool[place % len(pool)], place // len(pool)


def _lines(takes: Iterable[tuple[str, int]]) -> tuple[Line, ...]:
    """What one voice says: words and which take of each."""
    return tuple(Line(word, take, _file_name(n, word)) for n, (word, take) in enumerate(takes))


def _file_name(index: int, word: str) -> str:
    """A name that every file system takes, and that shows the word as well as it can."""
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    return f"{index:03}_{re.sub('[^a-z0-9]+', '-', plain)[:32].strip('-')}.wav"
