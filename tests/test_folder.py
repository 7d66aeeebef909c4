"""A person's own recordings: speakers, splits, and what is missing."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from pipeline import config
from pipeline.corpora import folder
from pipeline.corpora.manifest import SPLITS, TESTING, TRAINING, VALIDATION, Found
from pipeline.errors import CorpusError

SPEAKERS = ("anna", "ben", "cleo", "dan", "eva", "finn", "gia", "hugo", "ida", "jon")


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"sound")
    return root


def find(root: Path | str, **corpus: object) -> Found:
    return folder.find(config.load(corpus={"kind": "folder", "source": str(root), **corpus}))


def by_speaker(words: tuple[str, ...] = ("lamp", "door"), speakers: tuple[str, ...] = SPEAKERS) -> list[str]:
    return [f"{word}/{speaker}/{take}.wav" for word in words for speaker in speakers for take in range(3)]


def by_take(words: tuple[str, ...] = ("lamp", "door"), takes: int = 10) -> list[str]:
    return [f"{word}/{take}.wav" for word in words for take in range(takes)]


def counts(found: Found) -> Counter[tuple[str, str]]:
    return Counter((c.word, c.split) for c in found.candidates)


@pytest.mark.parametrize(
    "name", ["{word}/{speaker}/{take}.wav", "{word}/{speaker}_nohash_{take}.ogg", "{word}/{speaker}_{take}.mp3"]
)
def test_speakers_are_named_by_sub_folder_or_prefix(name: str, tmp_path: Path) -> None:
    names = [name.format(word=w, speaker=s, take=t) for w in ("lamp", "door") for s in SPEAKERS for t in range(3)]
    found = find(fill(tmp_path, *names, "_unknown_/anna/1.wav"))
    assert {c.speaker for c in found.candidates} == set(SPEAKERS)
    splits = {speaker: {c.split for c in found.candidates if c.speaker == speaker} for speaker in SPEAKERS}
    assert all(len(split) == 1 for split in splits.values())  # no voice in two splits
    assert Counter(next(iter(split)) for split in splits.values()) == {TRAINING: 8, VALIDATION: 1, TESTING: 1}
    assert found.keywords == ("door", "lamp")
    assert found.warnings == []
    assert found.candidates == sorted(found.candidates)


def test_a_speaker_keeps_the_split_as_takes_are_added(tmp_path: Path) -> None:
    before = find(fill(tmp_path, *by_speaker()))
    after = find(fill(tmp_path, *(f"lamp/{speaker}/9.flac" for speaker in SPEAKERS)))
    assert {c.speaker: c.split for c in before.candidates} == {c.speaker: c.split for c in after.candidates}


def test_splits_hold_about_the_percentages_of_clips(tmp_path: Path) -> None:
    names = [f"{w}/s{n}_{t}.wav" for w in ("lamp", "door") for n in range(60) for t in range(1 + n % 5)]
    found = find(fill(tmp_path, *names), validation_percent=25.0, testing_percent=15.0)
    shares = Counter(c.split for c in found.candidates)
    assert shares[VALIDATION] / len(names) == pytest.approx(0.25, abs=0.03)
    assert shares[TESTING] / len(names) == pytest.approx(0.15, abs=0.03)


def test_three_speakers_are_enough_and_two_are_not(tmp_path: Path) -> None:
    found = find(fill(tmp_path / "three", *by_speaker(speakers=SPEAKERS[:3])))
    assert sorted({(c.split, c.speaker) for c in found.candidates}) == sorted(
        {c.split: (c.split, c.speaker) for c in found.candidates}.values()
    )
    assert {c.split for c in found.candidates} == set(SPLITS)
    root = fill(tmp_path / "two", *by_speaker(speakers=SPEAKERS[:2]))
    with pytest.raises(CorpusError, match=r'keywords by anna, ben alone, and there are 3 splits; .*split_by = "take"'):
        find(root)
    assert find(root, split_by="take").candidates


def test_speakers_of_other_words_only_do_not_stand_in_for_speakers_of_keywords(tmp_path: Path) -> None:
    others = [f"_unknown_/noise{number}_1.wav" for number in range(20)]
    found = find(fill(tmp_path, *by_speaker(speakers=SPEAKERS[:3]), *others))
    assert {split for word, split in counts(found) if word == "lamp"} == set(SPLITS)
    assert {split for word, split in counts(found) if word == "_unknown_"} == set(SPLITS)


def test_a_split_without_a_keyword_is_warned_of(tmp_path: Path) -> None:
    root = fill(tmp_path, *by_speaker(("lamp", "door", "_unknown_")))
    testers = {c.speaker for c in find(root).candidates if c.split == TESTING}
    for path in [path for path in (root / "lamp").rglob("*.wav") if path.parent.name in testers]:
        path.unlink()
    assert find(root).warnings == ["no clip of lamp in the testing split; have more speakers say it"]


@pytest.mark.parametrize("name", ["1.wav", "lamp_1.wav"])  # the word once more is no speaker
def test_one_file_without_a_speaker_means_a_split_by_take_and_a_warning(name: str, tmp_path: Path) -> None:
    found = find(fill(tmp_path, *by_speaker(("lamp", "door", "_unknown_")), f"lamp/{name}"))
    (warning,) = found.warnings
    assert f"no speaker in 1 names (lamp/{name})" in warning
    assert "the same voice is in training and testing, so the figures are optimistic" in warning


def test_takes_are_split_within_each_word(tmp_path: Path) -> None:
    found = find(fill(tmp_path, *by_take(), *by_take(("_unknown_", "_silence_"), 20)))
    for word, takes in (("lamp", 1), ("door", 1), ("_unknown_", 2), ("_silence_", 2)):
        assert counts(found)[word, VALIDATION] == counts(found)[word, TESTING] == takes
    assert {c.speaker for c in found.candidates} == {""}
    tested = {c.word: c.path.stem for c in found.candidates if c.split == TESTING}
    assert tested["lamp"] != tested["door"]  # not always the first recorded


def test_split_by_take_as_set_keeps_the_names_of_speakers(tmp_path: Path) -> None:
    found = find(fill(tmp_path, *by_speaker(("lamp", "door", "_unknown_"))), split_by="take")
    assert {c.speaker for c in found.candidates} == set(SPEAKERS)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("split by take, as set; the same voice")


def test_too_few_takes_of_a_word_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, *by_take(takes=3))
    assert {split for word, split in counts(find(root)) if word == "lamp"} == set(SPLITS)
    (root / "lamp" / "0.wav").unlink()
    with pytest.raises(CorpusError, match="2 takes of lamp for 3 splits; record at least 3"):
        find(root)


def test_words_that_are_no_keywords_keep_their_word(tmp_path: Path) -> None:
    found = find(fill(tmp_path, *by_take(("lamp", "door", "table"))), keywords=["lamp", "door"])
    assert found.keywords == ("lamp", "door")
    assert {c.word for c in found.candidates} == {"lamp", "door", "table"}
    assert len(found.warnings) == 1  # of the split by take only: there are other words


def test_nothing_but_keywords_is_warned_of(tmp_path: Path) -> None:
    found = find(fill(tmp_path, *by_speaker(), "_silence_/1.wav"))
    assert found.warnings == [
        "nothing but keywords is learnt, so any word will be taken for one of them; add others in _unknown_"
    ]


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, *by_take(("lamp",)), "_silence_/1.wav")
    with pytest.raises(CorpusError, match="lamp is the only class; add a second word, or recordings of other words in"):
        find(root)
    assert find(fill(root, *by_take(("_unknown_",)))).keywords == ("lamp",)


def test_reserved_folders(tmp_path: Path) -> None:
    names = (
        "_background_noise_/b.wav",
        "_background_noise_/a.wav",
        "_silence_/room.wav",
        "_extra_/1.wav",
        ".git/1.wav",
    )
    found = find(fill(tmp_path, *by_speaker(("lamp", "door", "_unknown_")), *names, "loose.wav", ".DS_Store"))
    assert found.noise == [tmp_path / "_background_noise_/a.wav", tmp_path / "_background_noise_/b.wav"]
    assert {c.word for c in found.candidates} == {"lamp", "door", "_unknown_", "_silence_"}
    # Without the folder they lie in: warnings are published with the model.
    assert [warning.split(": ")[0] for warning in found.warnings] == [".git", "_extra_", "loose.wav"]


def test_files_of_other_kinds_are_offered_but_have_no_say(tmp_path: Path) -> None:
    root = fill(
        tmp_path, *by_speaker(("lamp", "door", "_unknown_")), "lamp/notes.txt", "lamp/1.m4a", "lamp/.hidden.wav"
    )
    (root / "lamp" / "anna" / "pointer.wav").symlink_to(root / "not fetched")
    found = find(root)
    assert found.warnings == []  # split by speaker, although notes.txt names none
    offered = {c.path.name for c in found.candidates if c.word == "lamp"}
    assert offered == {"0.wav", "1.wav", "2.wav", "notes.txt", "1.m4a", "pointer.wav"}


def test_words_without_recordings_are_named(tmp_path: Path) -> None:
    root = fill(tmp_path, *by_take(), "chair/1.m4a")
    with pytest.raises(CorpusError, match=r"no clips of chair in .*; choose from: door, lamp; record some \(m4a"):
        find(root)
    with pytest.raises(CorpusError, match="no clips of desk in"):
        find(root, keywords=["lamp", "desk"])


def test_a_word_is_found_however_its_accents_are_stored(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "größer")
    found = find(fill(tmp_path, *by_take((apart, "lamp"))), keywords=["größer", "lamp"])
    assert {c.word for c in found.candidates} == {"größer", "lamp"}


def test_a_speaker_is_one_however_the_accents_are_stored(tmp_path: Path) -> None:
    together, apart = (unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD"))
    names = [
        f"{word}/{name}"
        for word in ("lamp", "door")
        for name in (f"{together}/1.wav", f"{apart}/2.wav", f"{apart}_3.wav")
    ]
    found = find(fill(tmp_path, *names), split_by="take")
    assert {c.speaker for c in found.candidates} == {together}


def test_a_source_that_is_missing_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no folder is given; set it, or SOURCE, to a folder with one sub-folder"):
        find("")
    with pytest.raises(CorpusError, match="nowhere: no such folder; give SOURCE a folder with one sub-folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="no recordings of any word"):
        find(fill(tmp_path, "1.wav", "_unknown_/1.wav"))
