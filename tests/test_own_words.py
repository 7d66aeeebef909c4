"""Takes of one's own words: which are asked for, in which order, and where they are kept."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import config
from pipeline.config import BACKGROUND_NOISE, UNKNOWN
from pipeline.corpora import folder, own_words
from pipeline.corpora.own_words import Takes
from pipeline.device import audio
from pipeline.errors import AudioError, CorpusError

RATE_HZ = 16_000
WORDS = ["lamp", "kettle"]
SOUND = np.linspace(-0.5, 0.5, RATE_HZ, dtype=np.float32)


def takes(root: Path, speaker: str = "anna", words: list[str] = WORDS) -> Takes:
    return Takes(root, words, speaker)


def keep(shelf: Takes, *names: str) -> list[Path]:
    return [shelf.keep(name, SOUND, RATE_HZ) for name in names]


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# --- what is asked for ---


@pytest.mark.parametrize(("words", "unknown"), [(1, 10), (5, 10), (6, 20), (10, 20)])
def test_there_are_as_many_other_words_as_training_uses(words: int, unknown: int) -> None:
    asked = own_words.wanted([str(word) for word in range(words)], 10)
    assert asked[UNKNOWN] == unknown
    assert asked[UNKNOWN] >= config.Corpus().training_unknown_percent / 100 * words * 10
    assert asked[BACKGROUND_NOISE] == 2
    assert len(asked) == words + 2


def test_rounds_hold_each_word_once_and_are_shuffled() -> None:
    words = ["a", "b", "c", "d"]
    asked = own_words.plan(own_words.wanted(words, 10), {}, 10)
    spoken = [name for name in asked if name != BACKGROUND_NOISE]
    rounds = [spoken[start : start + 5] for start in range(0, 50, 5)]
    assert all(sorted(order) == sorted([*words, UNKNOWN]) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 5
    assert all(name != following for name, following in pairwise(asked))
    assert asked == own_words.plan(own_words.wanted(words, 10), {}, 10)


def test_silence_begins_the_first_round_and_every_fifth_after_it() -> None:
    asked = own_words.plan(own_words.wanted(WORDS, 11), {}, 11)
    places = [index for index, name in enumerate(asked) if name == BACKGROUND_NOISE]
    assert len(places) == 3
    assert places[0] == 0
    assert all(Counter(asked[start + 1 : end]).keys() == {*WORDS, UNKNOWN} for start, end in pairwise(places))


def test_only_what_is_missing_is_asked_for_in_the_rounds_that_are_left() -> None:
    wanted = own_words.wanted(WORDS, 4)
    asked = own_words.plan(wanted, {"lamp": 3, "kettle": 1, UNKNOWN: 9, BACKGROUND_NOISE: 1}, 4)
    assert asked[:2] == ["kettle", "kettle"]
    assert sorted(asked[2:]) == ["kettle", "lamp"]
    assert own_words.plan(wanted, wanted, 4) == []


def test_examples_differ_from_speaker_to_speaker_and_are_none_of_the_words() -> None:
    words = ["Book", "red lamp", "banana"]
    anna, ben = own_words.examples(words, "anna"), own_words.examples(words, "ben")
    assert anna[:10] != ben[:10]
    assert anna == own_words.examples(words, "anna")
    assert set(anna) & {"book", "red", "lamp", "banana"} == set()
    assert len(anna) > 500


# --- where it is kept ---


@pytest.mark.parametrize("speaker", ["anna", "anna_b", "lamp", "Ana María", 'o\'neil "the" $(voice)', "_"])
def test_the_corpus_reads_what_was_kept(speaker: str, tmp_path: Path) -> None:
    words = ["sésame", "lamp", "it's", 'a "b"; $c', "play music"]
    for name in (speaker, "ben", "cleo"):
        keep(takes(tmp_path, name, words), *words, *words, UNKNOWN, BACKGROUND_NOISE)
    found = folder.find(config.load(corpus={"kind": "folder", "source": str(tmp_path)}))
    assert found.keywords == tuple(sorted(words))
    assert {take.speaker for take in found.candidates} == {speaker, "ben", "cleo"}
    assert Counter(take.word for take in found.candidates) == {**dict.fromkeys(words, 6), UNKNOWN: 3}
    assert len(found.noise) == 3
    assert (found.split_by, found.warnings) == ("speaker", [])
    assert takes(tmp_path, speaker, words).count() == {**dict.fromkeys(words, 2), UNKNOWN: 1, BACKGROUND_NOISE: 1}


def test_a_take_is_written_as_it_was_heard(tmp_path: Path) -> None:
    (path,) = keep(takes(tmp_path), "lamp")
    assert path == tmp_path / "lamp" / "anna" / "001.wav"
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert (rate_hz, soundfile.info(path).subtype) == (RATE_HZ, "PCM_16")
    np.testing.assert_allclose(samples, SOUND, atol=1 / 32_768)


def test_numbers_go_on_and_nothing_is_overwritten(tmp_path: Path) -> None:
    keep(takes(tmp_path), "lamp", "lamp")
    (tmp_path / "lamp/anna/001.wav").unlink()
    (tmp_path / "lamp/anna/007.flac").write_bytes(b"another")
    keep(takes(tmp_path), "lamp", "kettle")
    keep(takes(tmp_path, "ben"), "lamp")
    assert files(tmp_path) == [
        "kettle/anna/001.wav",
        "lamp/anna/002.wav",
        "lamp/anna/007.flac",
        "lamp/anna/008.wav",
        "lamp/ben/001.wav",
    ]
    assert takes(tmp_path).count() == {"lamp": 3, "kettle": 1, UNKNOWN: 0, BACKGROUND_NOISE: 0}
    assert takes(tmp_path).speakers() == 2


def test_takes_named_by_hand_count_and_what_is_no_take_does_not(tmp_path: Path) -> None:
    (tmp_path / "lamp" / "anna").mkdir(parents=True)
    for name in ("anna_01.wav", "anna_02.m4a", "ben_01.wav", "1.wav", "anna/notes.txt", "anna/.001.wav.part"):
        (tmp_path / "lamp" / name).write_bytes(b"sound")
    assert takes(tmp_path).count()["lamp"] == 1


def test_a_word_is_the_same_however_its_accents_are_stored(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "né")
    (tmp_path / apart / apart).mkdir(parents=True)
    (tmp_path / apart / apart / "1.wav").write_bytes(b"sound")
    assert takes(tmp_path, "né", ["né"]).count()["né"] == 1
    assert takes(tmp_path, apart, [apart]).count()["né"] == 1


def test_removing_the_only_take_leaves_no_folder_that_would_be_a_word(tmp_path: Path) -> None:
    shelf = takes(tmp_path)
    first, second = keep(shelf, "lamp", "lamp")
    keep(takes(tmp_path, "ben"), "kettle")
    shelf.remove(second)
    assert files(tmp_path / "lamp") == ["anna/001.wav"]
    shelf.remove(first)
    shelf.remove(*keep(shelf, "kettle"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["001.wav", "ben", "kettle"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_is_left(fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = takes(tmp_path)
    keep(shelf, "lamp")

    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"RIFF")
        raise fault

    monkeypatch.setattr(audio, "write", full)
    for name in ("lamp", "kettle"):
        with pytest.raises((AudioError, KeyboardInterrupt)) as raised:
            keep(shelf, name)
    if isinstance(fault, OSError):
        message = f"{tmp_path / 'kettle' / 'anna'}: No space left on device; mend it and start again"
        assert str(raised.value).startswith(message)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["001.wav", "anna", "lamp"]


def test_a_folder_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "lamp").write_bytes(b"a file")
    with pytest.raises(AudioError, match=f"{tmp_path}/lamp/anna: Not a directory"):
        keep(takes(tmp_path), "lamp")


@pytest.mark.parametrize(
    ("speaker", "word", "reason"),
    [
        ("anna/b", "lamp", "'anna/b' can't be a speaker: it names a folder, which can't hold /"),
        ("anna", "on/off", "'on/off' can't be a word: it names a folder, which can't hold /"),
        ("anna", "on\\off", r"which can't hold \\"),
        ("..", "lamp", r"'\.\.' can't be a speaker: folders whose names begin so are not read"),
        ("anna", ".", r"'\.' can't be a word"),
        ("anna", "_lamp", "'_lamp' can't be a word: folders whose names begin so are not read"),
        (" ", "lamp", "' ' can't be a speaker: give letters"),
        ("an\nna", "lamp", "can't be a speaker: give letters that can be printed"),
        ("Anna", "lamp", r"'Anna' is spelt 'anna' in .*; give it so, or rename what is there"),
        ("anna", "Lamp", r"'Lamp' is spelt 'lamp' in "),
    ],
)
def test_names_that_a_corpus_would_not_read_are_refused(speaker: str, word: str, reason: str, tmp_path: Path) -> None:
    keep(takes(tmp_path), "lamp")
    with pytest.raises(CorpusError, match=reason):
        takes(tmp_path, speaker, [word])
    assert files(tmp_path) == ["lamp/anna/001.wav"]
