"""The corpus stage, from a folder of sound files to its tables: shares, what is rejected, noise, labels."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline import config
from pipeline.config import BACKGROUND_NOISE, SILENCE, UNKNOWN
from pipeline.corpora import manifest, noise, synthetic, voices
from pipeline.corpora.manifest import OFFICIAL, OTHERS, SPLITS, TESTING, TRAINING, VALIDATION, Clip
from pipeline.errors import CorpusError, SettingsError
from pipeline.stages import corpus

RATE_HZ = 16_000
# A speaker whom the official hash puts into each split.
SPEAKERS = {TRAINING: "0a9f9af7", VALIDATION: "026290a7", TESTING: "0c40e715"}
TEST_FOLDER = "speech_commands_test_set_v0.02"
NEVER_TRAINED_ON = 9 * noise.CLIPS_OF_A_KIND


def tone(path: Path, pitch_hz: float = 440.0, seconds: float = 0.25) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ), RATE_HZ)


def say(root: Path, word: str, training: int, validation: int, testing: int) -> None:
    """Recordings of a word in the layout of Speech Commands, so many of them in each split."""
    for split, takes in zip(SPLITS, (training, validation, testing), strict=True):
        for take in range(takes):
            tone(root / word / f"{SPEAKERS[split]}_nohash_{take}.wav", 300 + 10 * take)


def hiss(root: Path) -> None:
    """Noise of the corpus's own; without it the stage makes some."""
    (root / BACKGROUND_NOISE).mkdir(parents=True)
    soundfile.write(
        root / BACKGROUND_NOISE / "hiss.wav", np.random.default_rng(0).normal(0, 0.05, 10 * RATE_HZ), RATE_HZ
    )


def make(source: Path, out: Path, kind: str = "speech_commands", **settings: Any) -> str:
    given = {"kind": kind, "source": str(source), "sentences": 0, **settings}
    return corpus.run(config.load(corpus=given), out.parent / "data", out)


def count(clips: list[Clip]) -> dict[str, Counter[str]]:
    """Clips of each label in each split."""
    splits = sorted({clip.split for clip in clips})
    return {split: Counter(clip.label for clip in clips if clip.split == split) for split in splits}


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """In each split 40, 10 and 6 clips of keywords, and more of other words than are wanted."""
    root = tmp_path / "source"
    for word in ("yes", "no"):
        say(root, word, 20, 5, 3)
    for word in ("bed", "cat"):
        say(root, word, 15, 5, 5)
    hiss(root)
    return root


SHARES: dict[str, Any] = {
    "keywords": ["yes", "no"],
    "training_unknown_percent": 50.0,
    "training_silence_percent": 30.0,
    "unknown_percent": 25.0,
    "silence_percent": 20.0,
}


# --- shares ---


def test_each_split_gets_its_share_of_other_words_and_of_silence(source: Path, tmp_path: Path) -> None:
    message = make(source, tmp_path / "corpus", **SHARES)
    clips = manifest.read(tmp_path / "corpus")
    assert count(clips) == {
        "training": {"yes": 20, "no": 20, UNKNOWN: 20, SILENCE: 12, BACKGROUND_NOISE: 1},
        "validation": {"yes": 5, "no": 5, UNKNOWN: 3, SILENCE: 2, BACKGROUND_NOISE: 1},  # 2.5 is rounded up
        "testing": {"yes": 3, "no": 3, UNKNOWN: 2, SILENCE: 2, BACKGROUND_NOISE: 1},  # 1.5 and 1.2 are
        "others": {UNKNOWN: 8, SILENCE: NEVER_TRAINED_ON},  # what testing leaves
    }
    assert message == f"training 72, validation 15, testing 10, others {8 + NEVER_TRAINED_ON} clips; 2 keywords"
    assert {clip.word for clip in clips if clip.label == UNKNOWN} == {"bed", "cat"}
    speakers = {**SPEAKERS, OTHERS: SPEAKERS[TESTING]}
    assert all(clip.speaker == speakers[clip.split] for clip in clips if clip.source == "speech_commands")


def test_the_testing_split_is_drawn_as_ever_and_the_rest_is_in_no_other_split(source: Path, tmp_path: Path) -> None:
    """Another draw would make figures of testing incomparable with those of before."""
    make(source, tmp_path / "corpus", **SHARES)
    words: dict[str, set[str]] = {split: set() for split in (*SPLITS, OTHERS)}
    noises: dict[str, set[str]] = {split: set() for split in (*SPLITS, OTHERS)}
    for clip in manifest.read(tmp_path / "corpus"):
        if clip.label == UNKNOWN:
            words[clip.split].add(Path(clip.path).relative_to(source).as_posix())
        elif clip.label in (SILENCE, BACKGROUND_NOISE):
            noises[clip.split].add(clip.sha256)
    said = {f"{word}/{SPEAKERS[TESTING]}_nohash_{take}.wav" for word in ("bed", "cat") for take in range(5)}
    assert words[TESTING] == {f"cat/{SPEAKERS[TESTING]}_nohash_{take}.wav" for take in (0, 3)}
    assert words[OTHERS] == said - words[TESTING]
    for found in (words, noises):
        assert found[OTHERS].isdisjoint(set.union(*(found[split] for split in SPLITS)))


def test_where_no_other_word_is_left_only_noise_is_measured_besides(tmp_path: Path) -> None:
    for word in ("lamp", "door"):
        for take in range(10):
            tone(tmp_path / "own" / word / f"{take}.wav")
    make(tmp_path / "own", tmp_path / "corpus", kind="folder")
    clips = [clip for clip in manifest.read(tmp_path / "corpus") if clip.split == OTHERS]
    assert {clip.label for clip in clips} == {SILENCE}
    assert len({clip.word for clip in clips}) * noise.CLIPS_OF_A_KIND == len(clips) == NEVER_TRAINED_ON


def test_the_draw_is_the_same_each_time_and_another_with_another_seed(source: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        make(source, tmp_path / name, seed=seed, **SHARES)
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    one, other = manifest.read(tmp_path / "one"), manifest.read(tmp_path / "other")
    assert count(one) == count(other)
    for label, same in (("yes", True), ("no", True), (UNKNOWN, False), (SILENCE, False)):
        drawn = [{(clip.path, clip.sha256) for clip in clips if clip.label == label} for clips in (one, other)]
        assert (drawn[0] == drawn[1]) == same, label
    for clip in one:
        manifest.content(tmp_path / "one", clip)  # raises if it is not what the table says


def test_recorded_silence_counts_and_too_few_other_words_are_all_kept(tmp_path: Path) -> None:
    for word, takes in (("lamp", 20), ("door", 20), (SILENCE, 30), (UNKNOWN, 10)):
        for take in range(takes):
            tone(tmp_path / "own" / word / f"0a9f9af7_nohash_{take}.wav")
    hiss(tmp_path / "own")
    shares: dict[str, Any] = {
        "training_unknown_percent": 100.0,
        "training_silence_percent": 100.0,
        "silence_percent": 50.0,
    }
    make(tmp_path / "own", tmp_path / "corpus", kind="folder", split_by="take", **shares)
    clips = manifest.read(tmp_path / "corpus")
    assert count(clips) == {
        "training": {"lamp": 16, "door": 16, UNKNOWN: 8, SILENCE: 32, BACKGROUND_NOISE: 1},
        "validation": {"lamp": 2, "door": 2, UNKNOWN: 1, SILENCE: 3, BACKGROUND_NOISE: 1},  # one more than wanted
        "testing": {"lamp": 2, "door": 2, UNKNOWN: 1, SILENCE: 3, BACKGROUND_NOISE: 1},
        "others": {SILENCE: NEVER_TRAINED_ON},
    }
    made = [clip.split for clip in clips if clip.label == SILENCE and clip.source == "noise" and clip.split != OTHERS]
    assert made == [TRAINING] * 8


def test_the_official_test_archive_is_a_split_of_its_own_and_whole(source: Path, tmp_path: Path) -> None:
    official = {"yes": 2, "no": 1, UNKNOWN: 7, SILENCE: 4}
    for word, takes in official.items():
        for take in range(takes):
            tone(source / TEST_FOLDER / word / f"{SPEAKERS[TRAINING]}_nohash_{take}.wav")
    message = make(source, tmp_path / "corpus", **SHARES)
    clips = manifest.read(tmp_path / "corpus")
    found = count(clips)
    assert found.pop(OFFICIAL) == official
    assert message.startswith("training 72, validation 15, testing 10, official_testing 14, others ")
    assert {split: sum(labels.values()) for split, labels in found.items()} == {
        "training": 73, "validation": 16, "testing": 11, "others": 8 + NEVER_TRAINED_ON,
    }  # fmt: skip
    assert all((TEST_FOLDER in clip.path) == (clip.split == OFFICIAL) for clip in clips)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"keywords": ["no", "cat", "bed"]}, ["no", "cat", "bed"]), ({}, ["bed", "cat", "no", "yes"])],
)
def test_labels_are_in_the_order_given_or_sorted(
    settings: dict[str, list[str]], expected: list[str], source: Path, tmp_path: Path
) -> None:
    make(source, tmp_path / "corpus", kind="folder", **settings)
    assert (tmp_path / "corpus" / "labels.txt").read_text().splitlines() == [SILENCE, UNKNOWN, *expected]


# --- words held out ---


def kept(folder: Path, *splits: str) -> set[Clip]:
    return {clip for clip in manifest.read(folder) if clip.split in splits}


@pytest.mark.parametrize("kind", ["speech_commands", "folder"])
def test_a_word_held_out_is_only_measured_and_figures_keep_their_clips(kind: str, source: Path, tmp_path: Path) -> None:
    if kind == "folder":
        for take in range(10):
            for speaker in "abcdef":  # who say no keyword, and are divided among the splits
                tone(source / "bed" / f"{speaker}_{take}.wav", 800 + take)
    make(source, tmp_path / "all", kind=kind, **SHARES)
    make(source, tmp_path / "held", kind=kind, held_out_words=["bed"], **SHARES)
    measured = kept(tmp_path / "held", TESTING, OTHERS)
    assert measured == kept(tmp_path / "all", TESTING, OTHERS)
    assert "bed" in {clip.word for clip in measured}
    for split in (TRAINING, VALIDATION):
        assert "bed" in {clip.word for clip in kept(tmp_path / "all", split)}
        assert {clip.word for clip in kept(tmp_path / "held", split) if clip.label == UNKNOWN} == {"cat"}


VOICES: dict[str, Any] = {"accents": ["en-us"], "variants": 6, "kokoro_voices": 0}


def test_synthetic_voices_train_beside_people_and_nothing_else_changes(source: Path, tmp_path: Path) -> None:
    made = {**SHARES, **VOICES, "held_out_words": ["bed"]}
    make(source, tmp_path / "people", **made)
    make(source, tmp_path / "both", **made, synthetic_clips=44)
    clips = manifest.read(tmp_path / "both")
    spoken = [clip for clip in clips if clip.source == "synthetic"]
    assert [clip for clip in clips if clip not in spoken] == manifest.read(tmp_path / "people")
    assert {clip.split for clip in spoken} == {TRAINING}
    assert Counter(clip.label for clip in spoken) == {UNKNOWN: 22, "yes": 11, "no": 11}
    assert len({clip.speaker for clip in spoken}) == 4  # of six voices two are for measuring
    assert len({clip.sha256 for clip in spoken}) == 44
    assert "; synthetic clips made by eSpeak NG" in manifest.read_about(tmp_path / "both")["licence"]


def test_synthetic_voices_say_the_words_of_a_folder(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "both", kind="folder", **VOICES, synthetic_clips=40)
    spoken = [clip for clip in manifest.read(tmp_path / "both") if clip.source == "synthetic"]
    assert Counter(clip.label for clip in spoken) == {UNKNOWN: 20, "yes": 5, "no": 5, "bed": 5, "cat": 5}


def test_what_synthetic_voices_say_beside_people_is_no_word_held_out(source: Path, tmp_path: Path) -> None:
    """Not even nearly a keyword: of `go` another sound makes `foe`."""
    given = {"kind": "folder", "keywords": ("go",), **VOICES, "near_percent": 100.0, "synthetic_clips": 200}
    said = {}
    for held_out in ((), ("foe",)):
        settings = config.load(corpus={**given, "held_out_words": held_out})
        said[held_out] = {candidate.word for candidate in synthetic.beside(settings, ["go"], tmp_path / str(held_out))}
    assert voices.homophones(["foe"], sorted(said[()]), ["en-us"], "f2")
    assert not voices.homophones(["foe"], sorted(said["foe",]), ["en-us"], "f2")


def test_a_synthetic_corpus_has_no_synthetic_voices_beside_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^settings: corpus\.synthetic_clips: .*; remove it, or set CORPUS to "):
        config.load(corpus={"kind": "synthetic", "synthetic_clips": 10})
    with pytest.raises(SettingsError, match=r"^settings: corpus\.synthetic_clips is 7; give an even number, since "):
        config.load(corpus={"kind": "folder", "synthetic_clips": 7})
    (file := tmp_path / "both.toml").write_text("[corpus]\nsynthetic_clips = 10\n")
    assert config.load(file, corpus={"kind": "folder"}).corpus.synthetic_clips == 10


def test_the_official_test_archive_keeps_the_words_held_out(source: Path, tmp_path: Path) -> None:
    for word in ("yes", "no", "bed"):
        tone(source / TEST_FOLDER / word / f"{SPEAKERS[TRAINING]}_nohash_0.wav")
    make(source, tmp_path / "held", held_out_words=["bed"], **SHARES)
    assert count(manifest.read(tmp_path / "held"))[OFFICIAL] == {"yes": 1, "no": 1, UNKNOWN: 1}


def test_a_word_held_out_of_which_there_is_no_clip_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        make(source, tmp_path / "corpus", held_out_words=["bed", "Cat", "zebra"], **SHARES)
    expected = "corpus.held_out_words: no clip of Cat, zebra; correct or remove it"
    assert str(caught.value) == expected
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("kind", ["speech_commands", "folder"])
def test_a_keyword_that_no_setting_names_is_not_held_out(kind: str, source: Path, tmp_path: Path) -> None:
    for word in config.TEN_WORDS:
        say(source, word, 1, 1, 1)
    with pytest.raises(SettingsError, match=r"^corpus\.held_out_words: yes: what is a keyword must be learnt; "):
        make(source, tmp_path / "corpus", kind=kind, held_out_words=["yes"])


def test_where_all_other_words_are_held_out_it_is_said_that_only_keywords_are_learnt(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        make(source, tmp_path / "corpus", kind="folder", held_out_words=["bed", "cat"], **SHARES)
    (warning,) = caplog.messages
    assert warning.startswith("nothing but keywords is learnt, so any word will be taken for one of them;")
    with pytest.raises(CorpusError, match="yes is the only class"):
        make(source, tmp_path / "one", kind="folder", keywords=["yes"], held_out_words=["no", "bed", "cat"])


# --- what can't be used ---


def spoil(source: Path) -> dict[Path, str]:
    """Files of each kind that can't be used, and the reason to be given."""
    reasons = {
        source / "yes" / f"{SPEAKERS[split]}_nohash_{name}.wav": reason
        for split, name, reason in (
            (TRAINING, "empty", "empty file"),
            (TRAINING, "nan", "holds NaN or infinity"),
            (VALIDATION, "short", "too short: 199 ms, at least 200 ms are needed"),
            (TESTING, "pointer", "a Git LFS pointer instead of audio; fetch the real file first"),
            (TRAINING, "text", "not readable as audio"),
        )
    }
    empty, nan, short, pointer, text = reasons
    empty.touch()
    soundfile.write(nan, np.array([0.1] * 8_000 + [np.nan] * 10), RATE_HZ, subtype="FLOAT")
    tone(short, seconds=0.199)
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    text.write_text("These are notes on the recordings.\n")
    noise = source / BACKGROUND_NOISE / "click.wav"
    tone(noise, seconds=0.5)
    return {**reasons, noise: "too short: 500 ms, at least 1000 ms are needed"}


def test_each_file_that_cannot_be_used_is_listed_with_its_reason_and_counted(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "before", **SHARES)
    reasons = spoil(source)
    message = make(source, tmp_path / "corpus", max_rejected_percent=50.0, **SHARES)
    listed = rejected(tmp_path / "corpus")
    assert listed.keys() == {str(path) for path in reasons}
    for path, reason in reasons.items():
        assert listed[str(path)].startswith(reason)
    assert message.endswith(f"; {len(reasons)} rejected, see {tmp_path}/corpus/rejected.csv")
    assert manifest.read(tmp_path / "corpus") == manifest.read(
        tmp_path / "before"
    )  # the rest is as if they weren't there
    assert rejected(tmp_path / "before") == {}


def test_more_than_the_set_share_of_them_stops_the_stage(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for word in ("yes", "no"):
        say(source, word, 8, 4, 4)
    hiss(source)
    (source / "no" / f"{SPEAKERS[TRAINING]}_nohash_8.wav").touch()
    (source / "no" / f"{SPEAKERS[TESTING]}_nohash_8.wav").touch()
    for number in range(5):
        tone(source / BACKGROUND_NOISE / f"{number}.wav", seconds=2)  # 40 files in all, two of them empty
    make(source, tmp_path / "corpus", keywords=["yes", "no"], max_rejected_percent=5.0)
    older = digests(tmp_path / "corpus")
    with pytest.raises(CorpusError) as caught:  # of recordings alone, however many clips voices add
        make(
            source, tmp_path / "corpus", keywords=["yes", "no"], max_rejected_percent=4.9, **VOICES, synthetic_clips=80
        )
    message = str(caught.value)
    assert "2 of 40 files can't be used (5.0 %, at most 4.9 %)" in message
    assert "corpus.max_rejected_percent" in message
    (listing,) = (word for word in message.split() if word.endswith("rejected.csv"))
    assert set(rejected(Path(listing).parent).values()) == {"empty file"}
    assert len(rejected(Path(listing).parent)) == 2
    assert "\n" not in message
    assert digests(tmp_path / "corpus") == older


def test_a_keyword_of_which_no_clip_can_be_used_is_named(source: Path, tmp_path: Path) -> None:
    for path in (source / "no").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CorpusError, match="no usable training clip of no;"):
        make(source, tmp_path / "corpus", max_rejected_percent=100.0, **SHARES)
    assert not (tmp_path / "corpus").exists()


def test_a_split_may_lack_one_keyword_with_a_warning_but_not_all(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (source / "no").glob(f"{SPEAKERS[TESTING]}*"):
        path.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        make(source, tmp_path / "corpus", max_rejected_percent=50.0, **SHARES)
    (warning,) = caplog.messages
    assert warning.startswith("no testing clip of no:")
    for path in (source / "yes").glob(f"{SPEAKERS[TESTING]}*"):
        path.write_bytes(b"")
    with pytest.raises(CorpusError, match="no usable testing clip of yes, no;"):
        make(source, tmp_path / "other", max_rejected_percent=50.0, **SHARES)


# --- noise ---


def pitch_hz(path: Path) -> float | None:
    """Frequency of a tone; None where the sound is none."""
    samples, rate_hz = soundfile.read(path)
    power = np.square(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))
    loudest = int(power.argmax())
    is_tone = power[max(loudest - 3, 0) : loudest + 4].sum() > 0.9 * power.sum() > 0
    return loudest * rate_hz / len(samples) if is_tone else None


def test_each_split_hears_its_own_stretch_of_the_noise(tmp_path: Path) -> None:
    """A recording whose pitch changes where the splits do: no split may hear the pitch of another."""
    source, pitches_hz = tmp_path / "source", {TRAINING: 500.0, VALIDATION: 1_500.0, TESTING: 3_000.0}
    percents = {TRAINING: 60, VALIDATION: 25, TESTING: 15}
    for word in ("yes", "no"):
        say(source, word, 40, 0, 0)
    stretches = [
        np.sin(2 * np.pi * pitches_hz[split] * np.arange(percent * 20 * RATE_HZ // 100) / RATE_HZ)
        for split, percent in percents.items()
    ]
    (source / BACKGROUND_NOISE).mkdir()
    soundfile.write(source / BACKGROUND_NOISE / "siren.flac", 0.3 * np.concatenate(stretches), RATE_HZ)
    make(
        source, tmp_path / "corpus", kind="folder", split_by="take", validation_percent=25.0, testing_percent=15.0,
        training_silence_percent=100.0, silence_percent=100.0,
    )  # fmt: skip

    clips = manifest.read(tmp_path / "corpus")
    for split in SPLITS:
        (piece,) = (c for c in clips if c.label == BACKGROUND_NOISE and c.split == split)
        assert pitch_hz(tmp_path / "corpus" / piece.path) == pytest.approx(pitches_hz[split], rel=0.01)
        assert soundfile.info(tmp_path / "corpus" / piece.path).duration == percents[split] / 5
        made = [c for c in clips if c.label == SILENCE and c.split == split]
        heard = [pitch for clip in made if (pitch := pitch_hz(tmp_path / "corpus" / clip.path))]
        assert len(heard) >= len(made) / 5  # the others are coloured noise, or next to nothing
        np.testing.assert_allclose(heard, pitches_hz[split], rtol=0.01)


def test_a_corpus_without_noise_of_its_own_is_given_some(source: Path, tmp_path: Path) -> None:
    (source / BACKGROUND_NOISE / "hiss.wav").unlink()
    make(source, tmp_path / "corpus", **SHARES)
    noise = [clip for clip in manifest.read(tmp_path / "corpus") if clip.label == BACKGROUND_NOISE]
    assert {split: sum(clip.split == split for clip in noise) for split in SPLITS} == dict.fromkeys(SPLITS, 10)
    assert len({clip.sha256 for clip in noise}) == 30


def test_an_interrupted_run_leaves_no_noise_of_recordings_that_are_gone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus.manifest, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "corpus", **SHARES)
    monkeypatch.undo()
    (source / BACKGROUND_NOISE / "hiss.wav").rename(source / BACKGROUND_NOISE / "tap.wav")
    make(source, tmp_path / "corpus", **SHARES)
    make(source, tmp_path / "fresh", **SHARES)
    assert digests(tmp_path / "corpus") == digests(tmp_path / "fresh")
