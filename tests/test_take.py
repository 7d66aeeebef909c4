"""Takes by a microphone: what is kept of a good one, and why others are refused."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import Audio
from pipeline.device import audio, take
from pipeline.device.audio import amplitude
from pipeline.errors import AudioError

SOUND = Audio()
RATE_HZ = SOUND.sample_rate_hz
BEGIN_S = take.COUNTDOWN_S
ROOM_DBFS = -60.0


def at(time_s: float) -> int:
    return round(time_s * RATE_HZ)


def noise(level_dbfs: float, length_s: float, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(at(length_s))
    return (amplitude(level_dbfs) * drawn).astype(np.float32)


def heard(
    *bursts: tuple[float, float], level_dbfs: float = -20.0, room_dbfs: float = ROOM_DBFS, offset: float = 0.0
) -> np.ndarray:
    """A take in a room; each burst of noise begins at a time after the countdown, and lasts so long."""
    samples = noise(room_dbfs, BEGIN_S + take.speaking_s(SOUND), seed=1) + np.float32(offset)
    for start_s, length_s in bursts:
        burst = noise(level_dbfs, length_s)
        there = samples[at(BEGIN_S + start_s) :][: len(burst)]
        there += burst[: len(there)]
    return samples


def decibels(samples: np.ndarray) -> float:
    return audio.decibels(audio.rms(samples))


# --- what is kept ---


@pytest.mark.parametrize("start_s", [-0.4, 0.0, 0.3, 1.2])
@pytest.mark.parametrize("length_s", [0.2, 0.6])
def test_the_window_has_the_word_in_its_middle_and_the_room_around_it(start_s: float, length_s: float) -> None:
    window = take.word(heard((start_s, length_s)), SOUND)
    assert len(window) == SOUND.clip_samples
    start, end = audio.loud_part(window)
    # A word near the beginning of the recording is as near to the middle as can be.
    middle_s = start_s + length_s / 2
    assert (start + end) / 2 / RATE_HZ == pytest.approx(min(0.5, middle_s + take.HEAD_START_S), abs=0.03)
    assert (end - start) / RATE_HZ == pytest.approx(0.9 * length_s, abs=0.03)
    assert decibels(window[: at(0.08)]) == pytest.approx(ROOM_DBFS, abs=0.5)


def test_samples_are_kept_as_they_were() -> None:
    recorded = heard((0.3, 0.5))
    window = take.word(recorded, SOUND)
    starts = np.flatnonzero(recorded == window[0])
    assert any(np.array_equal(recorded[start : start + len(window)], window) for start in starts)


def test_the_parts_of_a_phrase_and_a_late_plosive_belong_to_it() -> None:
    window = take.word(heard((0.2, 0.3), (0.68, 0.02), (0.85, 0.05)), SOUND)
    assert decibels(window[at(0.5 - 0.35) :][: at(0.3)]) == pytest.approx(-20, abs=0.5)
    assert decibels(window[at(0.5 + 0.3) :][: at(0.05)]) == pytest.approx(-20, abs=0.5)


def test_a_click_beside_the_word_is_not_the_word() -> None:
    alone, clicked = take.word(heard((0.3, 0.4)), SOUND), take.word(heard((0.3, 0.4), (1.5, 0.02)), SOUND)
    np.testing.assert_array_equal(alone, clicked)


def test_the_key_that_starts_the_countdown_and_a_bang_in_it_are_not_the_room() -> None:
    faint = {"level_dbfs": -44.0}
    banged = heard((0.3, 0.4), **faint)
    for start_s in (0.05, 0.6):
        banged[at(start_s) :][: at(0.05)] = noise(-3, 0.05)
    np.testing.assert_array_equal(take.word(banged, SOUND), take.word(heard((0.3, 0.4), **faint), SOUND))


def test_an_offset_is_no_sound() -> None:
    window = take.word(heard((0.3, 0.5), offset=0.1), SOUND)
    assert decibels(window[: at(0.2)] - 0.1) == pytest.approx(ROOM_DBFS, abs=0.5)
    with pytest.raises(AudioError, match="nothing but the room"):
        take.word(heard(offset=0.1), SOUND)


def test_an_echo_does_not_make_a_word_too_long() -> None:
    recorded = heard((0.2, 0.8), room_dbfs=-75)
    echo = noise(-30, 0.8, seed=2) * 10 ** (-3 * np.arange(at(0.8)) / at(0.5))  # -60 dB in half a second
    recorded[at(BEGIN_S + 1.0) :][: len(echo)] += echo.astype(np.float32)
    assert len(take.word(recorded, SOUND)) == SOUND.clip_samples


def test_a_larger_window_holds_a_longer_phrase() -> None:
    wide = Audio(clip_ms=2_000)
    recorded = np.concatenate([heard((0.3, 1.6)), noise(ROOM_DBFS, 1.0)])
    assert len(take.word(recorded, wide)) == wide.clip_samples


# --- what is refused ---


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        (heard(), "nothing but the room was heard: say it louder"),
        (heard((0.3, 0.02), (0.9, 0.02)), "nothing but the room"),  # two keys
        (np.zeros_like(heard()), "no sound came at all: is the microphone muted"),
        (heard((-0.7, 0.6)), "it had begun before the countdown was over"),
        (heard((1.7, 0.6)), "it went on to the end of the recording"),
        (heard((-0.6, 3.0)), "it had begun before"),  # a tap that is running
        (heard((0.1, 1.3)), r"it lasted 1\.3 s and the window is 1\.0 s: say it once"),
        (heard((0.0, 0.4), (1.0, 0.4)), r"it lasted 1\.4 s"),  # said twice
        (heard((0.3, 0.08)), r"it lasted 0\.08 s, too short for a word"),
        (heard((0.3, 0.5), level_dbfs=-10).clip(-0.3, 0.3) / 0.3, "it was clipped"),
        (heard((0.3, 0.5), level_dbfs=-55, room_dbfs=-80), r"it was too quiet, -4\d dBFS at its peak"),
        (heard((0.3, 0.08), level_dbfs=-55, room_dbfs=-80), "it was too quiet"),  # what is heard of it is short
        (heard((0.3, 0.5), level_dbfs=-30, room_dbfs=-38), r"it was only 9 dB louder than the room"),
        (heard((0.3, 0.5), level_dbfs=-30, room_dbfs=-30), "nothing but the room"),
    ],
)
def test_what_can_not_be_used_is_refused_with_what_to_do(recorded: np.ndarray, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        take.word(recorded, SOUND)


def test_what_is_clipped_away_from_the_word_or_once_does_not_matter() -> None:
    recorded = heard((0.3, 0.4))
    recorded[at(BEGIN_S + 0.5)] = 1.0
    recorded[at(BEGIN_S + 1.7) :][: at(0.01)] = 1.0
    assert take.word(recorded, SOUND).max() == 1.0


def test_flat_peaks_are_clipped_after_resampling_too() -> None:
    spoken = noise(-8, 0.5, seed=3)
    loud = audio.resample(np.clip(audio.resample(spoken, RATE_HZ, 48_000), -0.5, 0.5) * 2, 48_000, RATE_HZ)
    recorded = heard()
    recorded[at(BEGIN_S + 0.3) :][: len(loud)] = loud
    with pytest.raises(AudioError, match="clipped"):
        take.word(recorded, SOUND)


# --- the room ---


def test_of_the_room_all_but_the_countdown_is_kept() -> None:
    recorded = heard()
    recorded[: at(0.2)] = 1.0  # the key
    np.testing.assert_array_equal(take.room(recorded, SOUND), recorded[at(BEGIN_S) :])


def test_of_the_room_neither_nothing_nor_clipped_sound_is_kept() -> None:
    with pytest.raises(AudioError, match="no sound came at all"):
        take.room(np.zeros_like(heard()), SOUND)
    with pytest.raises(AudioError, match="clipped"):
        take.room(heard((0.3, 0.5), level_dbfs=10), SOUND)
