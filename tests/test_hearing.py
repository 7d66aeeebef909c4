"""What was heard against what was said: the same as an app hears, judged by hand-made cases, figures of textbooks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.config import Audio, Listen
from pipeline.corpora import hearing
from pipeline.corpora.hearing import GRID, Heard, Judged, Known
from pipeline.corpora.streams import Said, Segment
from pipeline.device.audio import Samples
from pipeline.device.spot import Detection, Spotter

SOUND, LISTEN = Audio(), Listen()
LABELS = ["_silence_", "_unknown_", "yes", "no"]
HOP = LISTEN.hop_samples(SOUND)


# --- hearing ---


def score(window: Samples) -> np.ndarray:
    """Scores that change a little with every window; loud ones are words."""
    level, crossings = np.abs(window).mean(), np.mean(window[1:] * window[:-1] < 0)
    odds = np.array([0, 3, 60 * level * (1 - crossings), 130 * level * crossings])
    return np.asarray(np.exp(odds) / np.exp(odds).sum(), np.float32)


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    """Slow and quick sounds of all levels and lengths, which stand for words."""
    generator, found, time_s = np.random.default_rng(3), [], 0.0
    for n in range(40):
        gap, length = generator.integers(8_000, 40_000), int(generator.integers(2_000, 14_000))
        sound = generator.normal(0, 1, length)
        sound = sound if n % 2 else np.convolve(sound, np.ones(9) / 3, "same")
        samples = np.concatenate([generator.normal(0, 0.003, gap), generator.uniform(0.05, 0.3) * sound])
        start_s = float(time_s + gap / SOUND.sample_rate_hz)
        time_s += len(samples) / SOUND.sample_rate_hz
        said = Said("no" if n % 2 else "yes", start_s, time_s) if n % 5 else None
        found.append(Segment(np.clip(samples, -1, 1).astype(np.float32), said))
    return found


@pytest.fixture(scope="module")
def heard(segments: list[Segment]) -> Heard:
    return hearing.hear(segments, score, LABELS, SOUND, LISTEN)


@pytest.mark.parametrize("thresholds", [{"yes": 0.2, "no": 0.2}, {"yes": 0.5, "no": 0.7}, {"no": 0.4}])
def test_the_same_is_heard_as_by_an_app(thresholds: dict[str, float], segments: list[Segment], heard: Heard) -> None:
    """Word, times and score to the last bit, and known at the hop at which `Spotter` tells it."""
    ear = Spotter(score, LABELS, thresholds, SOUND, LISTEN)
    samples = np.concatenate([segment.samples for segment in segments])
    expected = ear.feed(samples) + ear.finish()
    assert len(expected) > 5
    found = hearing.detect(heard, thresholds)
    assert [known.detection for known in found] == expected

    ear, told = Spotter(score, LABELS, thresholds, SOUND, LISTEN), []
    for piece in np.split(samples, range(HOP, len(samples), HOP)):
        told += [(detection, ear.time_s) for detection in ear.feed(piece)]
    assert [detection for detection, _ in told] == expected[: len(told)]
    assert [time_s for _, time_s in told] == pytest.approx([known.time_s for known in found[: len(told)]])
    assert len(found) - len(told) <= 1


def test_what_was_said_is_kept_and_how_long_was_listened(segments: list[Segment], heard: Heard) -> None:
    assert heard.said == tuple(segment.said for segment in segments if segment.said)
    samples = sum(len(segment.samples) for segment in segments)
    assert heard.hours == pytest.approx(samples / SOUND.sample_rate_hz / 3600)
    pause = Segment(np.zeros(50_000, np.float32), is_pause=True)  # nobody would call that an hour without false alarms
    assert hearing.hear([*segments, pause], score, LABELS, SOUND, LISTEN).hours == heard.hours


def test_a_sweep_is_what_each_threshold_gives(heard: Heard) -> None:
    swept = hearing.sweep(heard)
    assert swept == [hearing.judge_at(heard, {"yes": threshold, "no": threshold}) for threshold in GRID]
    matched = [len(judged.matched) for judged in swept]
    assert max(matched) > 5
    assert matched[-1] == 0


def test_a_loop_that_takes_the_best_of_each_window() -> None:
    best = ["_silence_", "yes", "yes", "_unknown_", "yes", "no", "no", "_silence_", "no"]
    scores = np.eye(4, dtype=np.float32)[[LABELS.index(label) for label in best]] * 0.9
    heard = Heard(tuple(LABELS), LISTEN, 1.0, scores, np.zeros((9, 2)), (), 1.0)
    found = hearing.best_of_each_window(heard)
    assert [known.detection.word for known in found] == ["yes", "yes", "no", "no"]
    assert [known.time_s for known in found] == pytest.approx([0.2, 0.5, 0.6, 0.9])
    last = found[-1].detection
    assert (last.start_s, last.end_s, last.score) == pytest.approx((-0.1, 0.9, 0.9))


# --- judging ---


def known(word: str, middle_s: float, after_s: float = 0.5) -> Known:
    return Known(Detection(word, middle_s - 0.25, middle_s + 0.25, 0.9), middle_s + after_s)


def said(word: str, middle_s: float) -> Said:
    return Said(word, middle_s - 0.5, middle_s + 0.5)


YES, NO = said("yes", 10.0), said("no", 12.0)
CASES: dict[str, tuple[list[Said], list[Known], str]] = {
    "the word": ([YES], [known("yes", 10.1)], "matched"),
    "another word": ([YES], [known("no", 9.9)], "wrong"),
    "nothing was said": ([], [known("yes", 10.0)], "false"),
    "nothing is heard": ([YES], [], ""),
    "too far away": ([YES], [known("yes", 20.0)], "false"),
    "as far as is allowed": ([YES], [known("yes", 11.5)], "matched"),
    "as far as is allowed, before it": ([YES], [known("yes", 8.5)], "matched"),
    "a hair too far": ([YES], [known("yes", 11.501)], "false"),
    "one word heard twice": ([YES], [known("yes", 9.9), known("yes", 10.3)], "matched wrong"),
    "the wrong word first": ([YES], [known("no", 9.9), known("yes", 10.3)], "wrong wrong"),
    "the second of two": ([YES, NO], [known("no", 12.0)], "matched"),
    "between two the first counts": ([YES, NO], [known("no", 11.3)], "wrong"),
    "between two, and the first was heard": ([YES, NO], [known("yes", 10.0), known("no", 11.3)], "matched wrong"),
    "both": ([YES, NO], [known("yes", 10.0), known("no", 12.0)], "matched matched"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_detection_finds_its_word_another_one_or_none(case: str) -> None:
    spoken, found, expected = CASES[case]
    judged = hearing.judge(found, spoken)
    kinds = {
        "matched": [one for _, one in judged.matched],
        "wrong": [one for _, one in judged.wrong],
        "false": list(judged.false),
    }
    assert [next(kind for kind, members in kinds.items() if one in members) for one in found] == expected.split()
    assert all(word.word == one.detection.word for word, one in judged.matched)
    assert sum(map(len, kinds.values())) == len(found)


# --- figures ---


def figures(judged: Judged, said: Sequence[Said] = (), hours: float = 2.0) -> dict[str, Any]:
    heard = Heard(tuple(LABELS), LISTEN, 1.0, np.zeros((1, 4), np.float32), np.zeros((1, 2)), tuple(said), hours)
    found = hearing.figures(judged, heard)
    assert json.loads(json.dumps(found)) == found
    return found


# Exact limits of a Poisson mean (Garwood 1936), as tables have them.
POISSON_95 = {0: (0.0, 3.689), 1: (0.0253, 5.572), 5: (1.624, 11.668), 20: (12.217, 30.888)}


@pytest.mark.parametrize("count", POISSON_95)
def test_false_alarms_are_given_by_the_hour_with_their_exact_interval(count: int) -> None:
    found = figures(Judged((), (), (known("yes", 1.0),) * count), hours=2.0)
    assert found["hours"] == 2
    assert found["false"] == count
    assert found["false_alarms_per_hour"] == count / 2
    assert found["false_alarms_per_hour_interval"] == pytest.approx([n / 2 for n in POISSON_95[count]], abs=1e-3)
    assert (found["missed"], found["missed_interval"], found["delay_ms"]) == (None, None, None)


# Wilson's interval, as Newcombe 1998 (Statistics in Medicine 17, table I, method 3) gives it.
@pytest.mark.parametrize(
    ("missed", "words", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_what_was_missed_is_given_with_the_interval_of_wilson(missed: int, words: int, low: float, high: float) -> None:
    spoken = [said("yes", 10.0 * n) for n in range(words)]
    matched = tuple((word, known("yes", 10.0 * n)) for n, word in enumerate(spoken[missed:]))
    wrong = tuple((word, known("no", 0.0)) for word in spoken[: missed // 2])
    found = figures(Judged(matched, wrong, ()), spoken)
    assert (found["words"], found["matched"], found["wrong"]) == (words, words - missed, missed // 2)
    assert found["missed"] == pytest.approx(missed / words)  # a word taken for another is one
    assert found["missed_interval"] == pytest.approx([low, high], abs=1e-4)


def test_the_delay_is_from_the_end_of_a_word_to_when_it_is_known() -> None:
    pairs = tuple((YES, known("yes", 10.0, after_s)) for after_s in (0.6, 0.7, 0.9))
    delay_ms = figures(Judged(pairs, (), ()), [YES] * 3)["delay_ms"]
    assert delay_ms == {"median": pytest.approx(200), "percentile_95": pytest.approx(380)}
