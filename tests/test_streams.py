"""Streams: every word once, where it is said to be, as loud as was asked; and nothing of another split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.config import BACKGROUND_NOISE, SILENCE, TALK, UNKNOWN, Audio, Settings, load
from pipeline.corpora import manifest, streams
from pipeline.corpora.manifest import SPLITS, TESTING, VALIDATION, Clip
from pipeline.corpora.streams import Said, Segment
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.errors import AudioError, CorpusError, StaleInput

SOUND = Audio()
RATE_HZ = SOUND.sample_rate_hz
# How many recordings of each label a split has, and how long they are.
CONTENT = {
    "yes": (3, 0.5), "no": (2, 0.4), UNKNOWN: (2, 0.3), SILENCE: (1, 1.0), BACKGROUND_NOISE: (2, 3.7), TALK: (3, 2.0),
}  # fmt: skip
PURE = 300.0  # dB; nothing is left of the background


def decibels(samples: Samples) -> float:
    return float(20 * np.log10(audio.rms(samples)))


def put(corpus: Path, clip: Clip, samples: Samples) -> Clip:
    (corpus / clip.path).parent.mkdir(parents=True, exist_ok=True)
    audio.write(corpus / clip.path, samples, RATE_HZ)
    return dataclasses.replace(clip, sha256=hashlib.sha256((corpus / clip.path).read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bursts of noise stand for words, each at a level of its own."""
    folder = tmp_path_factory.mktemp("streams") / "corpus"
    generator, clips = np.random.default_rng(0), []
    for split in SPLITS:
        for label, (count, length_s) in CONTENT.items():
            for take in range(count):
                burst = generator.normal(0, 1, round(length_s * RATE_HZ)) * generator.uniform(0.01, 0.15)
                clip = Clip(f"{split}/{label}/{take}.wav", label, "someone", split, "made", label, "")
                clips.append(put(folder, clip, np.pad(burst, 800).astype(np.float32)))
    manifest.write(folder, clips, [SILENCE, UNKNOWN, "yes", "no"])
    return folder


def with_words(corpus: Path, snr_db: float, split: str = TESTING, seed: int = 5) -> list[Segment]:
    return list(streams.words(corpus, split, SOUND, BACKGROUND_NOISE, snr_db, seed))


def sound(segments: Iterable[Segment]) -> Samples:
    return np.concatenate([segment.samples for segment in segments])


def said(segments: Iterable[Segment]) -> list[Said]:
    return [segment.said for segment in segments if segment.said]


# --- words ---


def test_each_word_of_the_split_comes_once_and_keywords_are_where_they_are_said_to_be(corpus: Path) -> None:
    segments = with_words(corpus, PURE)
    spoken = [c for c in manifest.examples(manifest.read(corpus), TESTING) if c.label != SILENCE]
    assert Counter(one.word for one in said(segments)) == {"yes": 3, "no": 2}
    assert len(segments) == len(spoken) == 7
    assert min(decibels(segment.samples) for segment in segments) > -60  # the two other words are there too

    stream, waiting = sound(segments), [clip for clip in spoken if clip.label != UNKNOWN]
    for one in said(segments):
        part = stream[round(one.start_s * RATE_HZ) : round(one.end_s * RATE_HZ) + 1]
        assert decibels(part) == pytest.approx(-26, abs=0.05)
        (clip,) = (clip for clip in waiting if clip.label == one.word and is_part_of(part, corpus / clip.path))
        waiting.remove(clip)
    assert waiting == []


def is_part_of(part: Samples, path: Path) -> bool:
    """Whether a recording holds this sound, be it at another level."""
    whole = audio.read(path, RATE_HZ)
    if len(whole) < len(part):
        return False
    windows = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    likeness = windows @ part / (np.linalg.norm(windows, axis=1) * np.linalg.norm(part))
    return bool(likeness.max() > 0.999)


def test_words_have_at_least_a_second_and_a_half_between_them(corpus: Path) -> None:
    spoken = said(with_words(corpus, PURE))
    pauses_s = [after.start_s - before.end_s for before, after in pairwise(spoken)]
    assert min([spoken[0].start_s, *pauses_s]) >= 1.5


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_the_background_is_as_loud_as_was_asked_and_never_pauses(corpus: Path, snr_db: float) -> None:
    pure, noisy = with_words(corpus, PURE), with_words(corpus, snr_db)
    assert said(noisy) == said(pure)
    background = sound(noisy) - sound(pure)
    assert decibels(background) == pytest.approx(-26 - snr_db, abs=0.1)
    tenths = background[: len(background) // 1_600 * 1_600].reshape(-1, 1_600)
    assert min(map(decibels, tenths)) > -26 - snr_db - 12  # the recordings have 50 ms of silence at both ends


def test_a_background_too_loud_is_clipped_as_by_a_sound_card(corpus: Path) -> None:
    stream = sound(with_words(corpus, -40.0))
    assert stream.dtype == np.float32
    assert np.abs(stream).max() == 1


# --- talk ---


def test_talk_is_every_sentence_as_it_is_with_short_pauses_in_a_little_noise(corpus: Path) -> None:
    segments = list(streams.talk(corpus, TESTING, SOUND, 5))
    assert said(segments) == []
    sentences = [
        audio.read(corpus / clip.path, RATE_HZ)
        for clip in manifest.recordings(manifest.read(corpus), TESTING, TALK)
    ]  # fmt: skip
    for segment, sentence in zip(segments, sentences, strict=True):
        pause = len(segment.samples) - len(sentence)
        assert 0.1 <= pause / RATE_HZ <= 0.8
        noise = segment.samples - np.pad(sentence, (pause, 0))
        assert decibels(sentence) - decibels(noise) == pytest.approx(30, abs=1)
        assert audio.rms(segment.samples[:pause]) > 0


# --- all streams of a split ---


def settings(**sections: dict[str, object]) -> Settings:
    return load(None, **sections)


def contents(corpus: Path, split: str, seed: int = 5) -> dict[str, bytes]:
    made = streams.of(corpus, split, settings(streams={"seed": seed}))
    return {name: sound(stream).tobytes() for name, stream in made.items()}


def test_the_streams_of_a_split_and_their_names(corpus: Path, recordings: Path) -> None:
    given = settings(streams={"negative": str(recordings), "snr_db": [20.0, 7.5]})
    noise = ["words in noise, 20 dB", "words in noise, 7.5 dB"]
    assert list(streams.of(corpus, TESTING, given)) == [*noise, "words in talk, 7.5 dB", "talk", "recordings"]
    assert list(streams.of(corpus, TESTING, settings(corpus={"sentences": 0}, streams={"snr_db": [20.0]}))) == noise[:1]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus: Path) -> None:
    once, again, other = (contents(corpus, TESTING, seed) for seed in (5, 5, 6))
    assert once == again
    assert all(once[name] != other[name] for name in once)


@pytest.mark.parametrize("split", [VALIDATION, TESTING])
def test_a_stream_holds_nothing_of_another_split(corpus: Path, split: str, tmp_path: Path) -> None:
    before = contents(corpus, split)
    tone = np.sin(np.arange(RATE_HZ) / 5, dtype=np.float32)
    for name, spoilt, same in (("others", set(SPLITS) - {split}, True), ("own", {split}, False)):
        folder = Path(shutil.copytree(corpus, tmp_path / name))
        clips = [put(folder, clip, tone) if clip.split in spoilt else clip for clip in manifest.read(folder)]
        manifest.write(folder, clips, manifest.read_labels(folder))
        after = contents(folder, split)
        assert [after[stream] == before[stream] for stream in before] == [same] * 4


# --- recordings without keywords ---

LEVELS = {"a.wav": 0.1, "b/c.flac": 0.2, "b/d.wav": 0.3, "e.WAV": 0.4, "f.ogg": 0.5}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings of one level each, some stereo or at another rate, and what lies about in a folder."""
    folder = tmp_path_factory.mktemp("negative")
    fill(folder, list(LEVELS))
    (folder / "notes.txt").write_text("where I recorded these")
    (folder / "._a.wav").write_text("a file manager's own")
    return folder


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        rate_hz = 44_100 if name.startswith("b") else RATE_HZ
        soundfile.write(folder / name, np.full((2 * rate_hz, 2), LEVELS[name]), rate_hz)


def levels(folder: Path, split: str) -> list[float]:
    """What is heard, in order; what comes after each recording must be a window of silence that doesn't count."""
    segments = list(streams.negative(folder, split, SOUND))
    rows = sound(segments).reshape(-1, 3 * RATE_HZ)
    assert not rows[:, 2 * RATE_HZ + 100 :].any()
    assert sum(len(segment.samples) for segment in segments if not segment.is_pause) == 2 * RATE_HZ * len(rows)
    return [round(float(np.median(row[: 2 * RATE_HZ])), 1) for row in rows]


def test_recordings_are_divided_and_all_are_used(recordings: Path) -> None:
    assert levels(recordings, VALIDATION) == [0.1, 0.3, 0.5]
    assert levels(recordings, TESTING) == [0.2, 0.4]


def test_the_order_in_which_files_were_made_does_not_matter(recordings: Path, tmp_path: Path) -> None:
    fill(tmp_path, list(LEVELS)[::-1])
    for split in (VALIDATION, TESTING):
        assert levels(tmp_path, split) == levels(recordings, split)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_recordings_are_refused(count: int, tmp_path: Path) -> None:
    fill(tmp_path, list(LEVELS)[:count])
    message = (
        f"{tmp_path}: NEGATIVE must hold two recordings or more, to tune on some and to test on others; "
        f"it has {count} (.wav, .flac, .mp3 and what else libsndfile reads)"
    )
    with pytest.raises(CorpusError) as caught:
        next(streams.negative(tmp_path, VALIDATION, SOUND))
    assert str(caught.value) == message


def test_a_test_on_recordings_that_thresholds_may_have_been_chosen_on_is_refused(
    recordings: Path, tmp_path: Path
) -> None:
    """A file that comes or goes sends those after it, in order, to the other split."""
    folder = Path(shutil.copytree(recordings, tmp_path / "negative"))
    given = settings(streams={"negative": str(folder)})
    (tmp_path / streams.NEGATIVE).write_text(json.dumps(streams.negative_digests(given)))
    shutil.copy(folder / "f.ogg", folder / "e.WAV")  # one to test on: that is no secret
    streams.require_same_negatives(given, tmp_path)
    shutil.copy(folder / "f.ogg", folder / "d.ogg")
    with pytest.raises(StaleInput, match=f"^stale: {folder} holds other recordings than it did; run: make tune$"):
        streams.require_same_negatives(given, tmp_path)


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    fill(tmp_path, ["a.wav"])
    (tmp_path / "z.wav").write_text("not sound")
    with pytest.raises(AudioError, match=f"^{tmp_path}/z.wav: not readable as audio"):
        list(streams.negative(tmp_path, TESTING, SOUND))
