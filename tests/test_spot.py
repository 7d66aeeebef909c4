"""Words in a stream: the same whatever the pieces, once for each utterance, at the right time, for days."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.config import Audio, Listen
from pipeline.device.spot import Detection, Spotter
from pipeline.errors import AudioError

RATE_HZ = 16_000
SOUND, LISTEN = Audio(), Listen(smoothing_ms=500)
LABELS = ["_silence_", "_unknown_", "low", "high"]
THRESHOLDS = {"low": 0.6, "high": 0.6}
TONES_HZ = {"low": 500, "high": 3_000}


def tone(word: str, length_s: float = 0.4, level: float = 0.3) -> np.ndarray:
    time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * TONES_HZ[word] * time_s)).astype(np.float32)


def stream(*words: tuple[float, str], length_s: float = 10.0, noise: float = 0.0) -> np.ndarray:
    """Tones that begin at these times."""
    samples = np.random.default_rng(0).normal(0, noise, round(length_s * RATE_HZ)).astype(np.float32)
    for start_s, word in words:
        start = round(start_s * RATE_HZ)
        samples[start : start + len(tone(word))] += tone(word)[: len(samples) - start]
    return samples


def hears_tones(window: np.ndarray) -> np.ndarray:
    """A recogniser that knows its two tones, and is the surer the more of one lies in the middle of the window."""
    spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window)))) / len(window)
    found = np.array([spectrum[hz - 20 : hz + 20].max() for hz in TONES_HZ.values()])
    sure = min(1.0, 15 * found.max()) if found.max() > 1e-3 else 0.0
    scores = np.zeros(4, np.float32)
    scores[2 + int(found.argmax())], scores[1] = sure, 1 - sure
    return scores


def spotter(score=hears_tones, thresholds=THRESHOLDS, listen=LISTEN) -> Spotter:  # type: ignore[no-untyped-def]
    return Spotter(score, LABELS, thresholds, SOUND, listen)


def pieces(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def hear(samples: np.ndarray, size: int = 4_000, ear: Spotter | None = None) -> list[Detection]:
    ear = ear or spotter()
    return [d for piece in pieces(samples, size) for d in ear.feed(piece)] + ear.finish()


SPOKEN = stream((1.0, "low"), (3.03, "high"), (5.5, "low"), (7.0, "low"), noise=0.003)


def test_each_word_is_heard_once_and_where_it_was() -> None:
    heard = hear(SPOKEN)
    assert [d.word for d in heard] == ["low", "high", "low", "low"]
    for detection, start_s in zip(heard, (1.0, 3.03, 5.5, 7.0), strict=True):
        assert detection.start_s == pytest.approx(start_s, abs=0.05)
        assert detection.end_s == pytest.approx(start_s + 0.4, abs=0.05)
        assert 0.6 < detection.score <= 1


@pytest.mark.parametrize("size", [1, 160, 333, 16_000, len(SPOKEN)])
def test_the_size_of_the_pieces_changes_nothing(size: int) -> None:
    assert hear(SPOKEN, size) == hear(SPOKEN)


def test_pieces_may_be_of_any_sizes_and_empty() -> None:
    cuts = np.sort(np.random.default_rng(1).integers(0, len(SPOKEN), 300))
    ear = spotter()
    heard = [d for piece in np.split(SPOKEN, cuts) for d in ear.feed(piece)] + ear.feed(SPOKEN[:0]) + ear.finish()
    assert heard == hear(SPOKEN)


def test_a_word_is_reported_while_the_stream_goes_on() -> None:
    ear = spotter()
    heard_s = [ear.time_s for piece in pieces(stream((1.0, "low")), 1_600) if ear.feed(piece)]
    assert len(heard_s) == 1
    assert 1.4 < heard_s[0] < 2.4  # within a second of its end


def test_words_at_the_very_start_and_end_are_heard() -> None:
    heard = hear(stream((0.0, "low"), (9.6, "high")))
    assert [d.word for d in heard] == ["low", "high"]
    assert heard[0].start_s >= 0
    assert heard[1].end_s == pytest.approx(10.0, abs=0.1)


def test_a_sound_that_goes_on_is_one_word() -> None:
    samples = stream()
    samples[16_000:112_000] = tone("low", 6.0)
    assert [d.word for d in hear(samples)] == ["low"]


def test_nothing_is_heard_for_a_while_after_a_word() -> None:
    close = stream((2.0, "low"), (2.5, "high"))
    patient = Listen(smoothing_ms=500, rest_ms=3_000)
    assert len(hear(close, ear=spotter(listen=patient))) == 1
    assert [d.word for d in hear(stream((1.0, "low"), (5.0, "high")), ear=spotter(listen=patient))] == ["low", "high"]


def test_a_word_without_a_threshold_or_below_it_is_not_heard() -> None:
    assert [d.word for d in hear(SPOKEN, ear=spotter(thresholds={"high": 0.6}))] == ["high"]
    (heard,) = hear(stream((1.0, "low")))
    assert hear(stream((1.0, "low")), ear=spotter(thresholds={"low": heard.score})) == []
    assert len(hear(stream((1.0, "low")), ear=spotter(thresholds={"low": heard.score - 1e-6}))) == 1


def test_the_best_score_decides_and_not_how_far_it_is_above_its_threshold() -> None:
    def torn(window: np.ndarray) -> np.ndarray:
        return np.array([0, 0, 0.3, 0.7], np.float32)

    assert [d.word for d in hear(stream(noise=0.1), ear=spotter(torn, {"low": 0.01, "high": 0.6}))] == ["high"]
    assert hear(stream(noise=0.1), ear=spotter(torn, {"low": 0.01, "high": 0.8})) == []


def test_smoothing_outvotes_a_single_window() -> None:
    calls = iter(range(1_000))

    def mistaken_once(window: np.ndarray) -> np.ndarray:
        return np.array([0, 0, 1, 0] if next(calls) == 20 else [0, 1, 0, 0], np.float32)

    assert hear(stream(noise=0.1), ear=spotter(mistaken_once)) == []
    calls = iter(range(1_000))
    alone = Listen(smoothing_ms=100)
    assert [d.word for d in hear(stream(noise=0.1), ear=spotter(mistaken_once, listen=alone))] == ["low"]


def test_silence_is_not_scored_and_quiet_speech_is() -> None:
    calls = []

    def counting(window: np.ndarray) -> np.ndarray:
        calls.append(None)
        return hears_tones(window)

    hear(stream(noise=1e-5), ear=spotter(counting))
    assert calls == []
    hear(stream(noise=0.01), ear=spotter(counting))
    assert len(calls) > 100
    assert hear(SPOKEN, ear=spotter(listen=Listen(smoothing_ms=500, gate_dbfs=-120))) == hear(SPOKEN)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((100, 2), np.float32), "mono array"),
        (np.full(100, np.nan, np.float32), "NaN"),
        (np.full(100, 32_767, np.float32), "divide 16-bit samples by 32768"),
    ],
)
def test_what_is_no_sound_is_refused(bad: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        spotter().feed(bad)


@pytest.mark.slow
def test_a_day_leaves_no_trace_and_no_drift() -> None:
    """A day at a low rate: a click each minute, heard at its time to the hop, in memory that stays as it was."""
    sound, listen = Audio(sample_rate_hz=4_000), Listen(hop_ms=500, smoothing_ms=500, rest_ms=1_000)
    minute = np.zeros(60 * 4_000, np.float32)
    minute[120_000:124_000] = 0.5

    def hears_clicks(window: np.ndarray) -> np.ndarray:
        share = 2 * float(np.abs(window).mean())
        return np.array([1 - share, 0, share, 0], np.float32)

    ear = Spotter(hears_clicks, LABELS, {"low": 0.2}, sound, listen)
    heard = list(ear.feed(minute))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    starts_s = [d.start_s for _ in range(24 * 60 - 1) for d in ear.feed(minute)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    starts_s = [heard[0].start_s, *starts_s]
    np.testing.assert_allclose(starts_s, 30 + 60 * np.arange(24 * 60), atol=0.5)
    assert np.ptp(np.array(starts_s) - 60 * np.arange(24 * 60)) < 1e-6
    assert after - before < 100_000  # the starts themselves are half of it
