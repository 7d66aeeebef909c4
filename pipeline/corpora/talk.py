"""Talk without the keywords: sentences of no sense by many synthetic voices, for training and for false alarms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.config import TALK, Corpus, Settings
from pipeline.corpora import languages, voices
from pipeline.corpora.manifest import Candidate
from pipeline.corpora.noise import seeded
from pipeline.corpora.voices import Line, Script

WORDS = (4, 12)  # in a sentence, ends included
LITTLE_SHARE = 0.45  # of the words of running speech


def find(settings: Settings, keywords: Sequence[str], folder: Path, workers: int | None = None) -> list[Candidate]:
    """Let the voices of each split say its sentences, as 16-bit WAV below `folder/talk`.

    The voices and words of a split are those of a synthetic corpus with the same settings; only little words, such as
    “the”, are in all. No sentence to learn from holds a word held out. Raises as `voices.speak_all` does.
    """
    corpus = settings.corpus
    scripts = list(_scripts(corpus, keywords)) if corpus.sentences else []
    talk = folder / "talk" / voices.folder_for(keywords)
    voices.speak_all(scripts, talk, settings, workers)
    return [
        Candidate(talk / script.voice / line.file, TALK, str(script.variant), script.split, "synthetic")
        for script in scripts
        for line in script.lines
    ]


def _scripts(corpus: Corpus, keywords: Sequence[str]) -> Iterator[Script]:
    words_of = voices.other_words(keywords, corpus)
    for split, variants in voices.cast(corpus).items():
        short = languages.little_words(corpus.language)
        little = voices.without_homophones(short, voices.kept_out(split, keywords, corpus), corpus)
        generator = seeded(corpus.seed, "sentences", split)
        sentences = [_sentence(words_of[split], little or words_of[split], generator) for _ in range(corpus.sentences)]
        cast = list(itertools.product(languages.accents(corpus), variants))
        for number, (accent, variant) in enumerate(cast):
            lines = tuple(
                Line(text, 0, f"{index:03}.wav", voices.RUNNING_WPM)
                for index, text in enumerate(sentences[number :: len(cast)])
            )
            if lines:
                yield Script(accent, variant, split, lines)


def _sentence(words: Sequence[str], little: Sequence[str], generator: np.random.Generator) -> str:
    count = int(generator.integers(*WORDS, endpoint=True))
    sources = [little if generator.random() < LITTLE_SHARE else words for _ in range(count)]
    return " ".join(source[int(generator.integers(len(source)))] for source in sources)
