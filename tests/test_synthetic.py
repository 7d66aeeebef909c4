"""Synthetic speech: the same bytes every time, splits that share nothing, words that can't be said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import config
from pipeline.config import Settings
from pipeline.corpora import espeak, languages, synthetic, voices
from pipeline.corpora.manifest import SPLITS, TESTING, TRAINING, VALIDATION, Found
from pipeline.corpora.process import in_fresh_process
from pipeline.errors import CorpusError, MissingExtra, PipelineError

WORDS = ("yes", "stop")
ACCENTS = ("en-us", "en-gb-scotland")


def settings(**corpus: object) -> Settings:
    # With seed 11 one of the voices is breathy: the library makes its breath from random numbers.
    tiny = {"keywords": WORDS, "accents": ACCENTS, "variants": 4, "takes": 2, "kokoro_voices": 0, "seed": 11}
    return config.load(corpus={**tiny, **corpus})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def found(folder: Path) -> Found:
    return synthetic.find(settings(), folder)


def test_every_voice_says_every_keyword(found: Found, folder: Path) -> None:
    assert found.keywords == WORDS
    assert found.warnings == []
    speakers = {candidate.path.parent.name for candidate in found.candidates}
    assert len(speakers) == len(ACCENTS) * 4
    said = Counter((c.path.parent.name, c.word) for c in found.candidates if c.word in WORDS)
    assert said == {(voice, word): 2 for voice in speakers for word in WORDS}
    assert {c.path for c in found.candidates} == set(folder.rglob("*.wav"))


def test_splits_share_neither_voices_nor_unknown_words(found: Found) -> None:
    splits_of: dict[str, set[str]] = {}
    words: dict[str, set[str]] = {split: set() for split in SPLITS}
    for candidate in found.candidates:
        splits_of.setdefault(candidate.speaker, set()).add(candidate.split)
        if candidate.word not in WORDS:
            words[candidate.split].add(candidate.word)
    assert sorted(len(splits) for splits in splits_of.values()) == [1, 1, 1, 1]
    assert set.union(*splits_of.values()) == set(SPLITS)
    assert all(words.values())
    assert words[TESTING].isdisjoint(words[TRAINING] | words[VALIDATION])
    assert words[VALIDATION].isdisjoint(words[TRAINING])


def test_no_word_is_held_out_of_what_is_spoken_anyway(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^corpus\.held_out_words: .*; remove it, or set CORPUS to folder"):
        synthetic.find(settings(held_out_words=["dog"]), tmp_path)
    assert not (tmp_path / "clips").exists()


def test_each_split_gets_its_share_of_unknown_words(tmp_path: Path) -> None:
    shares = settings(variants=3, accents=("en-us",), training_unknown_percent=60, unknown_percent=0)
    found = synthetic.find(shares, tmp_path)
    unknown = Counter(c.split for c in found.candidates if c.word not in WORDS)
    assert unknown == {TRAINING: 3}  # 60 % of 2 words in 2 takes by 1 voice, rounded up


def test_clips_are_trimmed_speech_of_one_window(found: Found) -> None:
    for candidate in found.candidates:
        samples, rate_hz = soundfile.read(candidate.path)
        assert soundfile.info(candidate.path).subtype == "PCM_16"
        assert (samples.ndim, rate_hz) == (1, 16_000)
        assert 0.1 < np.abs(samples).max() < 1
        assert 0.2 <= len(samples) / rate_hz <= 1.3
        loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
        assert loud[0] < 0.1 * rate_hz
        assert len(samples) - loud[-1] < 0.1 * rate_hz


def test_takes_of_a_word_differ(found: Found) -> None:
    takes = [c.path.read_bytes() for c in found.candidates if c.word == "yes"]
    assert len(set(takes)) == len(takes)


def test_same_bytes_again_and_with_other_numbers_of_workers(found: Found, folder: Path, tmp_path: Path) -> None:
    assert {c.speaker for c in found.candidates} & {
        "Alicia",
        "f2",
        "f5",
        "sandro",
    }  # choose a seed with a breathy voice
    time.sleep(1)  # of itself the library takes its seed from the clock
    for workers in (1, 3):
        again = synthetic.find(settings(), tmp_path / str(workers), workers)
        assert contents(tmp_path / str(workers)) == contents(folder)
        assert [(c.word, c.speaker, c.split) for c in again.candidates] == [
            (c.word, c.speaker, c.split) for c in found.candidates
        ]


def test_another_seed_chooses_other_voices(found: Found, tmp_path: Path) -> None:
    other = synthetic.find(settings(seed=2, accents=("en-us",)), tmp_path)
    assert {c.speaker for c in other.candidates} != {c.speaker for c in found.candidates}


def test_an_interrupted_run_is_taken_up(found: Found, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    first, second, *_ = sorted((tmp_path / "clips").iterdir())
    cut_off = second.rename(second.with_name(f"{second.name}.part"))
    next(cut_off.iterdir()).write_bytes(b"RIFF")
    (cut_off / "left.wav").touch()
    finished = (first / "000_yes.wav").stat()
    synthetic.find(settings(), tmp_path)
    assert contents(tmp_path) == contents(folder)
    assert (first / "000_yes.wav").stat().st_mtime_ns == finished.st_mtime_ns


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (("yes", "…"), r"'…' has no letter to say; write the word as it is spoken"),
        (("!!!",), r"'!!!' has no letter to say"),
        (("😀",), r"has no letter to say"),
        (("yes", "ꜳ"), r"eSpeak NG says 'ꜳ' in \d+ ms, corpus.min_clip_ms is 200; write it as it is spoken"),
        (("日本",), r"voices of 'en' can't read '日' in '日本'; write it in letters of that language"),
    ],
)
def test_a_word_that_can_not_be_said(keywords: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=message):
        synthetic.find(settings(keywords=keywords), tmp_path)
    assert not (tmp_path / "clips").exists()


def test_words_too_short_and_too_long(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"says 'go' in \d+ ms, corpus.min_clip_ms is 900; .* a longer word"):
        synthetic.find(settings(keywords=("go",), min_clip_ms=900), tmp_path)
    assert not (tmp_path / "clips").exists()
    long = settings(keywords=("switch on the kitchen light",), accents=("en-us",), variants=3)
    found = synthetic.find(long, tmp_path)
    assert re.search(r"'switch on the kitchen light' lasts about \d+ ms, a window 1000 ms", found.warnings[0])


def test_words_that_are_no_file_names(tmp_path: Path) -> None:
    words = ('say "yes"', "../up", "naïve", "don't; ls", "a\\b")
    found = synthetic.find(settings(keywords=words, accents=("en-us",), variants=3, takes=1), tmp_path)
    assert {c.word for c in found.candidates} >= set(words)
    assert len({c.path for c in found.candidates}) == len(found.candidates)
    for candidate in found.candidates:
        assert candidate.path.is_file()
        assert candidate.path.parent.parent == tmp_path / "clips"
        assert re.fullmatch(r"[0-9]{3}_[a-z0-9-]*\.wav", candidate.path.name)


def test_unknown_accents_and_variants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.accents: eSpeak NG has no accent 'en-xx'; remove it"):
        synthetic.find(settings(accents=("en-us", "en-xx")), tmp_path)
    with pytest.raises(CorpusError, match="no voice variant 'nobody'"):
        espeak.ESpeak().set_voice("en-us", "nobody")


def test_more_variants_than_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(espeak, "variants", lambda: ["f1", "m1", "m2"])
    found = synthetic.find(settings(accents=("en-us",)), tmp_path)
    assert {c.speaker for c in found.candidates} == {"f1", "m1", "m2"}
    assert found.warnings == ["corpus.variants is 4, eSpeak NG has 3"]


def test_words_that_sound_like_a_keyword_are_found() -> None:
    keywords, vocabulary = ("Happy", "won"), ["happy", "one", "table"]
    context = voices.clean_context()
    assert in_fresh_process(context, "broken", voices.homophones, keywords, vocabulary, ACCENTS, "f1") == {
        "happy", "one",
    }  # fmt: skip


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(PipelineError, match=r"broke off; run: make corpus \(exit code 3\)"):
        in_fresh_process(voices.clean_context(), voices.BROKEN_OFF, os._exit, 3)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtra, match=r"pip install 'speech-command-pipeline\[synthesis\]'"):
        synthetic.find(settings(), tmp_path)


def test_the_vocabulary_has_no_keyword_and_no_word_twice() -> None:
    words = languages.vocabulary()
    assert len(words) > 500
    assert words == sorted(set(words))
    assert not set(words) & set(config.TEN_WORDS)


def test_a_voice_process_stays_small() -> None:
    code = "import sys, pipeline.corpora.voices; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "librosa", "scipy", "espeakng_loader"} & set(loaded)
