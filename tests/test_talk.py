"""Talk without keywords: by the voices of its split alone, the same bytes every time, with none of the keywords."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import config
from pipeline.config import TALK, Settings
from pipeline.corpora import languages, manifest, talk, voices
from pipeline.corpora.manifest import OTHERS, SPLITS, TESTING, TRAINING, VALIDATION, Candidate
from pipeline.errors import MissingExtra
from pipeline.stages import corpus

WORDS = ("yes", "no")


def settings(**given: object) -> Settings:
    # With seed 11 one of the voices is breathy: the library makes its breath from random numbers.
    tiny = {"accents": ["en-us", "en-gb-scotland"], "variants": 4, "sentences": 5, "seed": 11}
    return config.load(corpus={**tiny, **given})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("talk")


@pytest.fixture(scope="module")
def found(folder: Path) -> list[Candidate]:
    return talk.find(settings(), WORDS, folder, workers=2)


def test_every_split_has_its_sentences_by_its_own_voices(found: list[Candidate]) -> None:
    assert Counter(one.split for one in found) == dict.fromkeys(SPLITS, 5)
    cast = voices.cast(settings().corpus)  # that of a synthetic corpus with these settings
    assert all(one.speaker in cast[one.split] for one in found)
    assert {one.word for one in found} == {TALK}
    for one in found:
        samples, rate_hz = soundfile.read(one.path)
        assert rate_hz == 16_000
        assert 0.5 < len(samples) / rate_hz < 10
        assert np.abs(samples).max() > 0.1


def sentences(*keywords: str, count: int = 400, **given: object) -> dict[str, list[str]]:
    """What is said in each split."""
    scripts = list(talk._scripts(settings(sentences=count, **given).corpus, keywords))
    return {split: [line.text for s in scripts if s.split == split for line in s.lines] for split in SPLITS}


def test_no_sentence_holds_a_keyword_or_what_sounds_like_one_or_is_part_of_one() -> None:
    without = {"buy": "by", "eye": "I", "too": "two", "Four": "four", "what if": "what", "happy hour": "happy"}
    heard = set[str]().union(*words_of(sentences(*without)).values())
    assert not {word.casefold() for word in heard} & {*without, *without.values(), "for", "if", "hour"}
    assert len(heard) > 400
    usual = set[str]().union(*words_of(sentences("yes")).values())
    assert {"by", "I", "two", "four", "for", "what", "if", "happy", "hour"} <= usual


def test_no_sentence_to_learn_from_holds_a_word_held_out_and_those_to_test_with_are_the_same() -> None:
    usual = sentences(*WORDS)
    held_out = ["four", "the", *sorted(words_of(usual)[VALIDATION] - set(languages.ENGLISH_LITTLE))[:8]]
    said = sentences(*WORDS, held_out_words=held_out)
    for split in (TRAINING, VALIDATION):
        assert words_of(usual)[split] & {*held_out, "for"}
        assert not words_of(said)[split] & {*held_out, "for"}  # which sounds like four
    assert said[TESTING] == usual[TESTING]


def words_of(said: dict[str, list[str]]) -> dict[str, set[str]]:
    return {split: {word for text in texts for word in text.split()} for split, texts in said.items()}


def test_splits_say_other_sentences_of_other_words_and_no_sentence_is_short() -> None:
    said = sentences(*WORDS)
    assert all(len(texts) == 400 for texts in said.values())
    assert len({text for texts in said.values() for text in texts}) == 3 * 400
    assert {len(text.split()) for texts in said.values() for text in texts} == set(range(4, 13))
    for one, other in combinations(words_of(said).values(), 2):
        assert one & other <= set(languages.ENGLISH_LITTLE)


def test_the_same_bytes_with_one_worker_and_after_an_interruption(
    found: list[Candidate], folder: Path, tmp_path: Path
) -> None:
    again = talk.find(settings(), WORDS, tmp_path / "again", workers=1)
    assert contents(tmp_path / "again") == contents(folder)
    assert [(one.path.name, one.speaker, one.split) for one in again] == [
        (one.path.name, one.speaker, one.split) for one in found
    ]

    interrupted = Path(shutil.copytree(folder, tmp_path / "interrupted"))
    first, second, *_ = sorted(interrupted.glob("talk/*/*"))
    part = second.rename(second.with_name(f"{second.name}.part"))
    next(part.iterdir()).write_bytes(b"RIFF")
    finished = next(first.iterdir()).stat().st_mtime_ns
    talk.find(settings(), WORDS, interrupted)
    assert contents(interrupted) == contents(folder)
    assert next(first.iterdir()).stat().st_mtime_ns == finished


def test_an_interrupted_run_leaves_no_talk_that_holds_what_is_a_keyword_now(
    found: list[Candidate], folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    now = talk.find(settings(), (*WORDS, "the"), tmp_path)
    assert {one.path for one in now} & {tmp_path / one.path.relative_to(folder) for one in found} == set()
    assert all(one.path.is_file() for one in now)


# --- in a corpus of recordings ---


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A person's recordings: two words, five speakers."""
    for pitch_hz, word in ((300, "lamp"), (900, "door")):
        for speaker in range(5):
            path = tmp_path / "own" / word / f"s{speaker}_1.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.3 * np.sin(np.arange(8_000) * pitch_hz / 2_500), 16_000)
    return tmp_path / "own"


def test_a_corpus_of_recordings_is_given_talk_which_is_no_class(own: Path, tmp_path: Path) -> None:
    message = corpus.run(settings(kind="folder", source=str(own)), tmp_path, tmp_path / "corpus")
    clips = manifest.read(tmp_path / "corpus")
    for split in SPLITS:
        assert len(manifest.recordings(clips, split, TALK)) == 5
        assert TALK not in {clip.label for clip in manifest.examples(clips, split)}
    assert manifest.read_labels(tmp_path / "corpus")[2:] == ["door", "lamp"]
    counted = sum(len(manifest.examples(clips, split)) for split in (*SPLITS, OTHERS))
    assert sum(int(word) for word in message.split(" clips")[0].replace(",", "").split() if word.isdigit()) == counted


def test_without_the_synthesiser_it_says_what_to_install_and_without_sentences_nothing_is_missing(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtra, match=r"pip install 'speech-command-pipeline\[synthesis\]'"):
        corpus.run(settings(kind="folder", source=str(own)), tmp_path, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    corpus.run(settings(kind="folder", source=str(own), sentences=0), tmp_path, tmp_path / "corpus")
    assert TALK not in {clip.label for clip in manifest.read(tmp_path / "corpus")}
