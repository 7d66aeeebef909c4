"""Changed copies of a clip: each change within its bounds, the same with the same seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import Audio, Augment, Settings
from pipeline.corpora import noise
from pipeline.corpora.augment import augment, fragment, piece
from pipeline.device import audio as door
from pipeline.device.audio import Samples

AUDIO = Audio(sample_rate_hz=16_000, clip_ms=1_000)
RATE_HZ, LENGTH = AUDIO.sample_rate_hz, AUDIO.clip_samples
OFF = Augment(
    shift_ms=0, speed_percent=0.0, room_probability=0.0, equaliser_probability=0.0, gain_db=0.0, noise_probability=0.0
)
SEEDS = range(30)

TIME_S = np.arange(LENGTH) / RATE_HZ
SINE = (0.3 * np.sin(2 * np.pi * 1000 * TIME_S)).astype(np.float32)
SIGNALS: dict[str, Samples] = {
    "silence": np.zeros(LENGTH, np.float32),
    "impulse": np.eye(1, LENGTH, LENGTH // 2, dtype=np.float32)[0],
    "clipped": np.sign(np.sin(2 * np.pi * 300 * TIME_S)).astype(np.float32),
    "sine": SINE,
}
HUM = (0.05 * np.sin(2 * np.pi * 50 * np.arange(3 * RATE_HZ) / RATE_HZ)).astype(np.float32)


def changed(samples: Samples, seed: int, noises: Sequence[Samples] = (), **settings: Any) -> Samples:
    """A copy with nothing switched on but the settings given."""
    chosen = dataclasses.replace(OFF, **settings)
    return augment(samples, audio=AUDIO, settings=chosen, noise=noises, generator=np.random.default_rng(seed))


def with_all(samples: Samples, seed: int) -> Samples:
    """A copy as the default settings make it."""
    return augment(samples, audio=AUDIO, settings=Augment(), noise=[HUM], generator=np.random.default_rng(seed))


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


# --- the whole ---


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    copies = [with_all(SINE, seed).tobytes() for seed in SEEDS]
    assert copies == [with_all(SINE, seed).tobytes() for seed in SEEDS]
    assert len(set(copies)) == len(SEEDS)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_copy_is_one_window_of_proper_sound(name: str) -> None:
    for seed in SEEDS:
        copy = with_all(SIGNALS[name], seed)
        assert copy.shape == (LENGTH,)
        assert copy.dtype == np.float32
        assert np.isfinite(copy).all()
        assert np.abs(copy).max() <= 1


@pytest.mark.parametrize("name", SIGNALS)
def test_with_everything_off_the_clip_stays_as_it_is(name: str) -> None:
    np.testing.assert_array_equal(changed(SIGNALS[name], 1), SIGNALS[name])


def test_the_clip_that_was_given_is_not_changed() -> None:
    samples = SINE.copy()
    with_all(samples, 1)
    np.testing.assert_array_equal(samples, SINE)


def test_a_clip_of_another_length_of_window_comes_out_as_long() -> None:
    audio = Audio(clip_ms=1500)
    samples = np.tile(SINE, 2)[: audio.clip_samples]
    copy = augment(samples, audio=audio, settings=Augment(), noise=[], generator=np.random.default_rng(1))
    assert copy.shape == (24_000,)


def test_switching_off_the_noise_leaves_the_other_changes_of_a_seed() -> None:
    # The noise is drawn last: a setting of it must not change the rest of the corpus.
    quiet = [changed(SINE, seed, speed_percent=10.0, gain_db=6.0) for seed in SEEDS]
    noisy = [
        changed(SINE, seed, speed_percent=10.0, gain_db=6.0, noise_probability=1.0, min_snr_db=80.0, max_snr_db=80.0)
        for seed in SEEDS
    ]
    np.testing.assert_allclose(noisy, quiet, atol=1e-3)


# --- each change ---


def test_a_shift_moves_both_ways_and_not_too_far() -> None:
    places = np.array([np.argmax(changed(SIGNALS["impulse"], seed, shift_ms=100)) for seed in range(300)])
    moved_ms = 1000 * (places - LENGTH // 2) / RATE_HZ
    assert np.abs(moved_ms).max() <= 100
    assert moved_ms.min() < -90
    assert moved_ms.max() > 90
    assert abs(moved_ms.mean()) < 15


def test_a_shift_keeps_what_stays_in_the_window() -> None:
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, LENGTH).astype(np.float32)
    for seed in SEEDS:
        copy = changed(samples, seed, shift_ms=100)
        (place,) = np.flatnonzero(copy == samples[LENGTH // 2])
        shift = place - LENGTH // 2
        expected = np.pad(samples, 1600)[1600 - shift : 1600 - shift + LENGTH]
        np.testing.assert_array_equal(copy, expected)


def test_a_shift_leaves_a_word_whole_wherever_it_was() -> None:
    word = np.zeros(LENGTH, np.float32)
    word[100:12_100] = np.random.default_rng(1).uniform(0.1, 0.5, 12_000)
    start, end = door.loud_part(word)
    middles = []
    for seed in range(100):
        copy = changed(word, seed, shift_ms=250)
        assert np.isin(word[start:end], copy).all()
        middles.append(np.mean(door.loud_part(copy)) - LENGTH / 2)
    most = (LENGTH - (end - start)) / 2  # 0.16 s: there is no room for more
    assert -most - 500 < min(middles) < -0.8 * most
    assert 0.8 * most < max(middles) < most + 500


def frequency_hz(samples: Samples) -> float:
    """Of a sine with silence around it."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    return float(np.argmax(spectrum) * RATE_HZ / (8 * len(samples)))


def test_speed_changes_the_pitch_both_ways_and_not_too_far() -> None:
    found = np.array([frequency_hz(changed(SINE, seed, speed_percent=15.0)) for seed in range(60)])
    assert 849 <= found.min() < 880
    assert 1120 < found.max() <= 1151


def test_a_faster_clip_is_shorter_and_stays_in_the_middle() -> None:
    burst = np.zeros(LENGTH, np.float32)
    burst[4000:12_000] = SINE[4000:12_000]
    for seed in SEEDS:
        copy = changed(burst, seed, speed_percent=15.0)
        sounding = np.flatnonzero(np.abs(copy) > 0.1)
        ratio = frequency_hz(copy) / 1000
        assert np.ptp(sounding) == pytest.approx(8000 / ratio, rel=0.02)
        assert (sounding[0] + sounding[-1]) / 2 == pytest.approx(LENGTH / 2, abs=20)


def test_gain_is_within_its_range_both_ways() -> None:
    gains_db = [20 * np.log10(rms(changed(SINE, seed, gain_db=8.0)) / rms(SINE)) for seed in range(100)]
    assert -8.01 <= min(gains_db) < -7
    assert 7 < max(gains_db) <= 8.01


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0, 40.0])
@pytest.mark.parametrize("noises", [[], [HUM]], ids=["coloured", "recorded or coloured"])
def test_noise_has_the_ratio_that_was_set(snr_db: float, noises: list[Samples]) -> None:
    clip = SINE * np.float32(0.1)  # so that nothing is clipped
    for seed in SEEDS:
        copy = changed(clip, seed, noises, noise_probability=1.0, min_snr_db=snr_db, max_snr_db=snr_db)
        assert 20 * np.log10(rms(clip) / rms(copy - clip)) == pytest.approx(snr_db, abs=0.1)


def test_recorded_noise_is_used_and_from_many_places() -> None:
    recording = np.arange(1, 3 * RATE_HZ + 1, dtype=np.float32)
    starts = set()
    for seed in SEEDS:
        added = changed(SINE, seed, [recording], noise_probability=1.0, min_snr_db=0.0, max_snr_db=0.0) - SINE
        steps = np.diff(added)
        if steps.std() < 1e-3 * abs(added).max():  # the recording rises evenly, coloured noise doesn't
            starts.add(round(float(added[0] / steps.mean()), -2))
    assert len(starts) > 5


def test_silence_gets_some_noise() -> None:
    copies = [changed(SIGNALS["silence"], seed, [HUM], noise_probability=1.0) for seed in SEEDS]
    assert all(0 < rms(copy) < 1e-4 for copy in copies)


def test_silent_noise_is_harmless() -> None:
    silent = np.zeros(2 * RATE_HZ, np.float32)
    for seed in SEEDS:
        assert np.isfinite(changed(SINE, seed, [silent], noise_probability=1.0)).all()


def test_every_recording_of_noise_that_a_corpus_takes_can_be_mixed_in(tmp_path: Path) -> None:
    # One window is enough for `cut`; training then gets 80 % of it.
    door.write(tmp_path / "short.wav", HUM[:LENGTH], RATE_HZ)
    (piece,) = noise.cut([tmp_path / "short.wav"], tmp_path, Settings())["training"]
    recording = door.read(piece, RATE_HZ)
    for seed in SEEDS:
        copy = changed(SINE, seed, [recording], noise_probability=1.0, min_snr_db=20.0, max_snr_db=20.0)
        assert 20 * np.log10(rms(SINE) / rms(copy - SINE)) == pytest.approx(20, abs=0.1)


def test_a_room_leaves_the_sound_where_it_is_and_adds_what_dies_away() -> None:
    for seed in SEEDS:
        copy = changed(SIGNALS["impulse"], seed, room_probability=1.0)
        assert copy[LENGTH // 2] == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(copy[: LENGTH // 2], 0, atol=1e-6)
        early, late = copy[LENGTH // 2 + 1 :][:400], copy[-1600:]
        assert rms(early) > 1e-3
        assert rms(late) < 0.05 * rms(early)


def test_an_equaliser_changes_the_colour_within_its_range() -> None:
    gains_db = []
    for seed in SEEDS:
        copy = changed(SIGNALS["impulse"] * np.float32(0.1), seed, equaliser_probability=1.0, equaliser_db=10.0)
        gains_db.append(20 * np.log10(np.abs(np.fft.rfft(copy)) / 0.1))
    assert -10.01 <= np.min(gains_db) < -8
    assert 8 < np.max(gains_db) <= 10.01
    assert min(np.ptp(gain_db) for gain_db in gains_db) > 3


@pytest.mark.parametrize("change", ["room", "equaliser", "noise"])
def test_a_probability_is_the_share_of_copies_that_are_changed(change: str) -> None:
    settings: dict[str, Any] = {f"{change}_probability": 0.5}
    copies = [changed(SINE, seed, **settings) for seed in range(200)]
    share = np.mean([not np.array_equal(copy, SINE) for copy in copies])
    assert 0.4 < share < 0.6


# --- windows of no word ---

WORD = np.zeros(LENGTH, np.float32)
WORD[4_000:12_000] = np.arange(4_000, 12_000) / LENGTH  # no two samples alike
SILENT = SIGNALS["silence"]


def test_a_fragment_is_the_end_of_one_word_the_beginning_of_another_or_both() -> None:
    start, end = door.loud_part(WORD)
    kinds = set()
    for seed in range(100):
        ends, begins, both = (
            fragment(before, after, AUDIO, np.random.default_rng(seed))
            for before, after in ((WORD, SILENT), (SILENT, WORD), (WORD, WORD))
        )
        np.testing.assert_array_equal(both, ends + begins)
        kinds.add((bool(ends.any()), bool(begins.any())))
        for part, edge in ((ends, 0), (begins, -1)):
            assert part.shape == (LENGTH,)
            heard = part[part > 0]
            assert (np.diff(heard) > 0).all()  # in order
            assert np.isin(WORD[start:end], heard).mean() <= 0.6
            assert part[edge] > 0 or not part.any()  # cut off at the end of the window
    assert kinds == {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("length", [1, LENGTH - 1, 3 * LENGTH])
def test_a_piece_of_a_sentence_is_from_anywhere_in_it(length: int) -> None:
    sentence = np.arange(1, length + 1, dtype=np.float32)
    pieces = [piece(sentence, AUDIO, np.random.default_rng(seed)) for seed in range(100)]
    for found in pieces:
        assert found.shape == (LENGTH,)
        heard = np.flatnonzero(found)
        np.testing.assert_array_equal(found[heard], np.arange(found[heard[0]], found[heard[0]] + len(heard)))
        assert len(heard) >= min(length, LENGTH // 2)
    if length > LENGTH:
        assert len({float(found[LENGTH // 2]) for found in pieces}) > 90
        assert min(found[0] for found in pieces) == 0
        assert max(found.max() for found in pieces) == length
