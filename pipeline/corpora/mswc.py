"""Multilingual Spoken Words Corpus: the words of one language that are asked for, in the published splits.

Mazumder et al. 2021, "Multilingual Spoken Words Corpus", NeurIPS Datasets and Benchmarks: 23.4 million clips of 340,000
words in 50 languages. So its table is gone through a row at a time, and of other words only as many clips are looked
into as may be needed.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.config import Corpus, Settings
from pipeline.corpora.folder import given_folder, require_clips
from pipeline.corpora.manifest import TESTING, TRAINING, VALIDATION, Candidate, Found
from pipeline.corpora.noise import seeded
from pipeline.errors import CorpusError

LICENCE = "Multilingual Spoken Words Corpus, Mazumder et al. 2021, CC BY 4.0"
LAYOUT = "that holds en/clips and en/en_splits.csv, as in the archives of MSWC, or the same of another corpus.language"
SPLITS = {"TRAIN": TRAINING, "DEV": VALIDATION, "TEST": TESTING}
COLUMNS = ("SET", "LINK", "WORD", "VALID", "SPEAKER")
_SPARE = 1.05  # clips of other words that are looked into, to each that is needed: some can't be used


@dataclass(frozen=True)
class Row:
    """One clip, as the table lists it; `link` leads to it from the folder of clips."""

    split: str
    link: str
    word: str
    speaker: str


def find(settings: Settings) -> Found:
    """Clips of the keywords and of other words, in the language `corpus.language`.

    The keywords are `corpus.keywords` or, without any, the `corpus.frequent_words` of which training has most clips.
    Clips that the corpus itself marks as not valid are left out.

    Raises
    ------
    CorpusError
        If the folder or its table is missing or can't be read, or if a keyword has no clips.
    """
    corpus = settings.corpus
    root, table = _language_folder(corpus)
    counts = Counter((row.split, row.word) for row in _rows(table))
    spoken = {word for _, word in counts}
    keywords = corpus.words or _most_frequent(counts, corpus.frequent_words)
    replace(corpus, keywords=keywords)  # refuses those that are held out
    require_clips(keywords, spoken, root, "set corpus.keywords or WORDS, as its table writes them")
    candidates = [
        Candidate(root / "clips" / row.link, row.word, row.speaker, row.split, "mswc")
        for row in _chosen(table, counts, keywords, corpus)
    ]
    return Found(keywords, sorted(candidates), LICENCE)


def _language_folder(corpus: Corpus) -> tuple[Path, Path]:
    """Where the clips of the language lie, and their table."""
    root = given_folder(corpus, LAYOUT)
    name = f"{corpus.language}_splits.csv"
    for folder in (root / corpus.language, root):
        if (folder / name).is_file():
            return folder, folder / name
    raise CorpusError(f"{root}: no {name} in it; give SOURCE a folder {LAYOUT}")


def _rows(table: Path) -> Iterator[Row]:
    """The valid clips of a table."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise CorpusError(f"{table}: no column {missing[0]}; it has to have {','.join(COLUMNS)}")
            for row in rows:
                if row["VALID"] == "True":
                    yield Row(SPLITS[row["SET"]], _inside(row["LINK"]), row["WORD"], row["SPEAKER"])
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise CorpusError(
                f"{table}: line {rows.line_num} is none of MSWC ({error}); fetch the table again"
            ) from None


def _inside(link: str) -> str:
    path = PurePosixPath(link)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{link} leads out of the folder of clips")
    return link


def _most_frequent(counts: Counter[tuple[str, str]], number: int) -> tuple[str, ...]:
    of_training = [(-count, word) for (split, word), count in counts.items() if split == TRAINING]
    return tuple(word for _, word in sorted(of_training)[:number])


def _chosen(table: Path, counts: Counter[tuple[str, str]], keywords: Collection[str], corpus: Corpus) -> Iterator[Row]:
    """All clips of the keywords, and some of all other words, drawn with the seed."""
    words = set(keywords)
    of_keywords, of_others = Counter[str](), Counter[str]()
    for (split, word), count in counts.items():
        (of_keywords if word in words else of_others)[split] += count
    wanted = {split: _wanted(split, of_keywords[split], corpus) for split in SPLITS.values()}
    drawn = {
        split: set(seeded(corpus.seed, "mswc", split).permutation(of_others[split])[: wanted[split]].tolist())
        for split in SPLITS.values()
    }
    seen = Counter[str]()
    for row in _rows(table):
        if row.word in words:
            yield row
        else:
            if seen[row.split] in drawn[row.split]:
                yield row
            seen[row.split] += 1


def _wanted(split: str, keywords: int, corpus: Corpus) -> int:
    """Of testing as many as of keywords: those that aren't drawn from them are still measured on."""
    percent = {TRAINING: corpus.training_unknown_percent, VALIDATION: corpus.unknown_percent, TESTING: 100.0}[split]
    return math.ceil(_SPARE * keywords * percent / 100)
