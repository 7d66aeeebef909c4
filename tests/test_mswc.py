"""Multilingual Spoken Words Corpus: a small folder in its layout; which words, and how many of the others."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import config
from pipeline.config import UNKNOWN
from pipeline.corpora import manifest, mswc
from pipeline.corpora.manifest import OTHERS, TESTING, TRAINING, VALIDATION, Found
from pipeline.errors import CorpusError
from pipeline.stages import corpus

HEADER = ["SET", "LINK", "WORD", "VALID", "SPEAKER", "GENDER"]
# Of each word so many clips in TRAIN, DEV and TEST.
WORDS = {"aber": (30, 4, 4), "nicht": (20, 4, 4), "über": (10, 2, 3), "doch": (8, 2, 3)}


def table(folder: Path, words: dict[str, tuple[int, int, int]] = WORDS, **changed: str) -> list[dict[str, str]]:
    """Write `de_splits.csv` for these words; each row may be changed."""
    rows = [
        {"SET": name, "LINK": f"{word}/common_voice_de_{n}{name}.opus", "WORD": word, "VALID": "True",
         "SPEAKER": f"{name}{n}", "GENDER": "NAN", **changed}
        for word, counts in words.items() for name, count in zip(mswc.SPLITS, counts, strict=True)
        for n in range(count)
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "de_splits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def find(root: Path, **given: object) -> Found:
    return mswc.find(config.load(corpus={"kind": "mswc", "source": str(root), "language": "de", **given}))


def counts(found: Found) -> Counter[tuple[str, str]]:
    return Counter((candidate.word, candidate.split) for candidate in found.candidates)


def test_the_published_splits_hold_and_of_other_words_come_about_as_many_as_are_needed(tmp_path: Path) -> None:
    table(tmp_path / "de")
    found = find(tmp_path, keywords=["aber", "nicht"], training_unknown_percent=20.0)
    assert found.keywords == ("aber", "nicht")
    seen = counts(found)
    for word in found.keywords:
        assert [seen[word, split] for split in (TRAINING, VALIDATION, TESTING)] == list(WORDS[word])
    others = Counter(c.split for c in found.candidates if c.word not in found.keywords)
    assert others == {TRAINING: 11, VALIDATION: 1, TESTING: 6}  # 20 % of 50, 10 % of 8, and all that there are
    assert find(tmp_path, keywords=["aber", "nicht"], training_unknown_percent=20.0) == found
    other_seed = find(tmp_path, keywords=["aber", "nicht"], training_unknown_percent=20.0, seed=9)
    assert other_seed.candidates != found.candidates


def test_without_keywords_the_most_frequent_are_taken(tmp_path: Path) -> None:
    table(tmp_path)
    assert find(tmp_path, frequent_words=3).keywords == ("aber", "nicht", "über")  # the folder of the language itself


def test_clips_that_the_corpus_marks_as_not_valid_are_left_out(tmp_path: Path) -> None:
    table(tmp_path / "de", VALID="False")
    with pytest.raises(CorpusError, match="no recordings of any word"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"LINK": "../../secret.opus"}, "leads out of the folder"),
        ({"LINK": "/etc/secret.opus"}, "leads out of the folder"),
        ({"SET": "OTHER"}, "line 2 is none of MSWC"),
    ],
)
def test_a_table_that_is_none_of_the_corpus_is_refused(changed: dict[str, str], reason: str, tmp_path: Path) -> None:
    table(tmp_path / "de", **changed)
    with pytest.raises(CorpusError, match=reason):
        find(tmp_path)


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "de_splits.csv").write_text("SET,LINK,WORD\n")
    with pytest.raises(CorpusError, match="no column VALID; it has to have SET,LINK,WORD,VALID,SPEAKER"):
        find(tmp_path)


def test_a_folder_without_the_language_says_what_is_missing(tmp_path: Path) -> None:
    table(tmp_path / "de")
    with pytest.raises(CorpusError, match=r"no fr_splits\.csv in it; give SOURCE a folder that holds en/clips"):
        find(tmp_path, language="fr")


def test_a_word_that_the_corpus_lacks_is_named(tmp_path: Path) -> None:
    table(tmp_path / "de")
    with pytest.raises(CorpusError, match=r"no clips of lampe in .* choose from: aber, doch, nicht, über"):
        find(tmp_path, keywords=["aber", "lampe"])


def test_a_corpus_is_made_of_opus_clips_as_the_archive_has_them(tmp_path: Path) -> None:
    """48 kHz and one second; what is not drawn of testing is measured on all the same."""
    generator = np.random.default_rng(1)
    for row in table(tmp_path / "mswc" / "de"):
        path = tmp_path / "mswc" / "de" / "clips" / row["LINK"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * generator.standard_normal(48_000), 48_000, format="OGG", subtype="OPUS")
    settings = config.load(
        corpus={"kind": "mswc", "source": str(tmp_path / "mswc"), "language": "de", "frequent_words": 2, "sentences": 0}
    )
    corpus.run(settings, tmp_path / "data", tmp_path / "corpus")
    clips = manifest.read(tmp_path / "corpus")
    seen = Counter((clip.label, clip.split) for clip in clips if clip.source == "mswc")
    assert seen["aber", TRAINING] == 30
    assert seen[UNKNOWN, TRAINING] == 10
    assert seen[UNKNOWN, TESTING] == 1
    assert seen[UNKNOWN, OTHERS] == 5
    assert "Mazumder" in manifest.read_about(tmp_path / "corpus")["licence"]
