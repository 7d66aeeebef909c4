"""A speaker's own takes: which are learnt and which left out, and what can't be used."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_words import describe

from pipeline import config, receipt
from pipeline.config import Settings
from pipeline.corpora import personal
from pipeline.corpora.manifest import LEFT_OUT, TRAINING, Clip, Rejected
from pipeline.device import audio
from pipeline.errors import BundleError, CorpusError, SettingsError, StaleInput

KEYWORDS = ("lamp", "kettle")
RATE_HZ = 16_000


def say(root: Path, *names: str) -> Path:
    """Takes, each of another sound."""
    for name in names:
        samples = np.random.default_rng(list(name.encode())).normal(0, 0.1, RATE_HZ // 2).astype(np.float32)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(root / name, samples, RATE_HZ)
    return root


def recorded(root: Path, words: tuple[str, ...] = KEYWORDS, speaker: str = "anna", takes: int = 4) -> Path:
    """The layout that `scripts/record.py` writes."""
    return say(root, *(f"{word}/{speaker}/{take:03}.wav" for word in words for take in range(1, takes + 1)))


def settings(root: Path, **values: object) -> Settings:
    return config.load(personalise={"bundle": "b", "source": str(root), **values})


def taken(root: Path, known: list[Clip] | None = None, **values: object) -> tuple[list[Clip], list[Rejected]]:
    return personal.takes(settings(root, **values), KEYWORDS, known or [], root.parent / "work")


def names(clips: list[Clip], split: str, root: Path) -> set[str]:
    return {Path(clip.path).relative_to(root).as_posix() for clip in clips if clip.split == split}


# --- what is left out ---


def test_one_take_of_each_word_and_speaker_is_left_out_and_all_others_are_learnt(tmp_path: Path) -> None:
    root = recorded(recorded(tmp_path / "mine"), speaker="ben", takes=2)
    clips, rejected = taken(root)
    assert rejected == []
    left_out = Counter((clip.speaker, clip.label) for clip in clips if clip.split == LEFT_OUT)
    assert left_out == {(speaker, word): 1 for speaker in ("anna", "ben") for word in KEYWORDS}
    learnt = Counter((clip.speaker, clip.label) for clip in clips if clip.split == TRAINING)
    assert learnt == {(who, word): n for who, n in (("anna", 3), ("ben", 1)) for word in KEYWORDS}


def test_which_one_depends_on_the_seed_and_not_on_where_the_takes_lie(tmp_path: Path) -> None:
    here, there = (recorded(tmp_path / name, takes=10) for name in ("here", "there"))
    chosen = names(taken(here)[0], LEFT_OUT, here)
    assert chosen == names(taken(there)[0], LEFT_OUT, there)
    others = [names(taken(here, seed=seed)[0], LEFT_OUT, here) for seed in range(4)]
    assert any(other != chosen for other in others)


def test_other_words_silence_and_noise_are_learnt_from_alone(tmp_path: Path) -> None:
    root = say(recorded(tmp_path / "mine"), "_unknown_/anna/001.wav", "_background_noise_/anna/001.wav")
    labels = {clip.word: (clip.label, clip.split) for clip in taken(root)[0] if clip.word not in KEYWORDS}
    assert labels == {name: (name, TRAINING) for name in ("_unknown_", "_background_noise_")}


def test_a_take_that_cannot_be_used_is_named_and_not_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = recorded(tmp_path / "mine", takes=3)
    (root / "lamp" / "anna" / "002.wav").write_bytes(b"no sound")
    clips, rejected = taken(root)
    assert [Path(take.path).name for take in rejected] == ["002.wav"]
    assert str(root / "lamp/anna/002.wav") in caplog.text
    assert Counter(clip.label for clip in clips) == {"lamp": 2, "kettle": 3}


def test_a_word_without_takes_is_said_to_have_only_other_voices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips, _ = taken(recorded(tmp_path / "mine", words=("lamp",)))
    assert {clip.label for clip in clips} == {"lamp"}
    assert "no take of kettle: only other voices say it" in caplog.text


# --- what can't be used ---


def refusal(root: Path, known: list[Clip] | None = None) -> str:
    with pytest.raises(CorpusError) as caught:
        taken(root, known)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_one_take_of_a_word_is_refused(tmp_path: Path) -> None:
    root = say(recorded(tmp_path / "mine", words=("kettle",)), "lamp/anna/001.wav")
    assert refusal(root) == (
        f"{root}: only one take of lamp by anna can be used; record one more: "
        "one of each word is left out to measure on, and the others are learnt"
    )


def test_words_that_the_bundle_does_not_know_are_refused_with_those_that_it_knows(tmp_path: Path) -> None:
    root = recorded(tmp_path / "mine", words=("lamp", "kettle", "door", "stove"))
    assert refusal(root) == (
        f"{root}: BUNDLE doesn't know door, stove; it knows lamp, kettle; move them elsewhere, or into _unknown_"
    )


def test_a_folder_without_takes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert refusal(tmp_path / "mine").startswith(f"{tmp_path / 'mine'}: no takes of lamp, kettle; give SOURCE a folder")


def test_a_recording_is_not_learnt_and_measured_on(tmp_path: Path) -> None:
    root = recorded(tmp_path / "mine")
    first, last = root / "lamp/anna/001.wav", root / "lamp/anna/005.wav"
    last.write_bytes(first.read_bytes())
    assert refusal(root) == f"{last}: the same recording is {first}; delete or move one of them"
    last.unlink()
    known = Clip("elsewhere/1.wav", "lamp", "a", TRAINING, "folder", "lamp", receipt.sha256(first))
    assert refusal(root, [known]) == (
        f"{first}: the same recording is in the corpus of BUNDLE, as elsewhere/1.wav; delete or move one of them"
    )


# --- the bundle and its build ---


def build(folder: Path, given: Settings | None = None) -> Path:
    """As much of a build as says what it was made by; its bundle."""
    (folder / "bundle").mkdir(parents=True)
    with receipt.making(folder / "evaluate", "evaluate", given or Settings()):
        pass
    content = json.loads((folder / "evaluate" / "receipt.json").read_text())
    content["settings"] = {name: (given or Settings()).section(name) for name in ("audio", "train", "personalise")}
    (folder / "evaluate" / "receipt.json").write_text(json.dumps(content))
    return describe(folder / "bundle")


def test_settings_are_those_of_the_build_with_the_section_of_a_file_over_them(tmp_path: Path) -> None:
    sections = personal.sections(build(tmp_path / "x", config.load(train={"epochs": 7})))
    path = tmp_path / "mine.toml"
    path.write_text("[personalise]\nepochs = 3\n[report]\nvoices = false\n")
    loaded = config.load_personal(path, sections, "b", "s")
    given = {"personalise": {"epochs": 3, "bundle": "b", "source": "s"}, "report": {"voices": False}}
    assert loaded == config.load(train={"epochs": 7}, **given)
    path.write_text("[train]\nepochs = 3\n")
    with pytest.raises(SettingsError) as caught:
        config.load_personal(path, sections, "b", "s")
    assert str(caught.value) == f"{path}: section [train]: it is as BUNDLE was made; give [personalise] or [report]"


def test_a_bundle_without_its_build_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleError, match="no such file; run make, or give the folder of a bundle"):
        personal.sections(tmp_path / "bundle")
    with pytest.raises(StaleInput) as caught:
        personal.sections(describe(tmp_path / "bundle"))
    assert str(caught.value) == (
        f"{tmp_path}/bundle: what it was made of must lie beside it; missing: {tmp_path}/evaluate/receipt.json; "
        f"run: make evaluate BUILD={tmp_path}, with its settings"
    )


def test_a_personalised_bundle_is_refused_with_the_one_it_came_from(tmp_path: Path) -> None:
    bundle = build(tmp_path / "x", config.load(personalise={"bundle": "build/first/bundle", "source": "mine"}))
    with pytest.raises(SettingsError) as caught:
        personal.sections(bundle)
    assert str(caught.value) == (
        f"{bundle}: it is personalised; give the BUNDLE that it came from, build/first/bundle, and all takes"
    )


def test_a_bundle_is_not_replaced_by_what_comes_of_it(tmp_path: Path) -> None:
    given = config.load(personalise={"bundle": str(tmp_path / "x" / "bundle"), "source": str(tmp_path)})
    with pytest.raises(SettingsError) as caught:
        receipt.write_settings(tmp_path / "x" / "settings", given)
    assert str(caught.value) == f"{tmp_path}/x: BUNDLE lies in it, and would be replaced; choose another BUILD"
    assert not (tmp_path / "x").exists()


def test_make_sees_a_take_that_is_added(tmp_path: Path) -> None:
    root = recorded(tmp_path / "mine")
    listings = []
    for more in ("lamp/anna/001.wav", "lamp/anna/009.wav"):
        receipt.write_settings(tmp_path / "y" / "settings", settings(say(root, more)))
        listings.append((tmp_path / "y" / "settings" / "source.json").read_text())
    assert listings[0] != listings[1]


def test_a_change_of_how_it_is_personalised_names_what_to_make_again(tmp_path: Path) -> None:
    before, now = (settings(tmp_path, epochs=epochs) for epochs in (5, 6))
    with receipt.making(tmp_path / "corpus", "corpus", before):
        pass
    with pytest.raises(StaleInput) as caught:
        receipt.require(now, corpus=tmp_path / "corpus")
    assert str(caught.value) == "stale: personalise.epochs was 5, now 6; run: make corpus"


def test_a_build_that_goes_on_from_none_does_not_depend_on_how_others_are_personalised(tmp_path: Path) -> None:
    with receipt.making(tmp_path / "corpus", "corpus", config.load(personalise={"epochs": 5})):
        pass
    assert receipt.require(config.load(personalise={"epochs": 6}), corpus=tmp_path / "corpus")
