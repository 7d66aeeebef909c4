"""Thresholds: as few words missed as the budget of false alarms permits, on sweeps that are made by hand."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from pipeline.config import Listen, load
from pipeline.corpora.hearing import GRID, Heard, Judged, Known
from pipeline.corpora.streams import Said
from pipeline.device.spot import Detection
from pipeline.stages import tune
from pipeline.stages.tune import choose

WORDS = ["yes", "no"]

# Of each word: how many of them at each threshold of the grid.
Counts = Mapping[str, Sequence[int]]
LAST = len(GRID) - 1
NONE: Counts = {word: [0] * len(GRID) for word in WORDS}


class Swept:
    """Streams, and what is missed, taken for another word and heard for nothing in each."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        self.judged: dict[str, list[Judged]] = {}

    def add(
        self, missed: Counts = NONE, wrong: Counts = NONE, false: Counts = NONE, said: int = 0, hours: float = 1.0,
        words: Sequence[str] = WORDS,
    ) -> Swept:  # fmt: skip
        """`said`: how often each of `words` is said; `wrong` is by the word that was heard."""
        name, spoken = f"stream {len(self.heard)}", tuple(spoke(word) for word in words for _ in range(said))
        scores, places = np.zeros((1, 3), np.float32), np.zeros((1, 2))
        self.heard[name] = Heard(("_unknown_", *WORDS), Listen(), 1.0, scores, places, spoken, hours)
        self.judged[name] = [
            Judged(
                tuple((spoke(word), known(word)) for word in words for _ in range(max(0, said - missed[word][n]))),
                tuple((spoke(other(word)), known(word)) for word in WORDS for _ in range(wrong[word][n])),
                tuple(known(word) for word in WORDS for _ in range(false[word][n])),
            )
            for n in range(len(GRID))
        ]
        return self

    def choose(self, budget_per_hour: float) -> dict[str, int]:
        """Places in the grid."""
        found = choose(WORDS, self.heard, self.judged, budget_per_hour)
        return {word: GRID.index(threshold) for word, threshold in found.items()}


def spoke(word: str) -> Said:
    return Said(word, 0, 0)


def known(word: str) -> Known:
    return Known(Detection(word, 0, 0, 0.9), 0)


def other(word: str) -> str:
    return WORDS[1 - WORDS.index(word)]


def steps(first: int, count: int, then: int) -> Counts:
    """For both words the same: the first `count` thresholds have one number, all above another."""
    return dict.fromkeys(WORDS, [first] * count + [then] * (LAST + 1 - count))


def drawn(seed: int) -> tuple[Swept, list[Counts], list[float]]:
    """Words missed more and more, false alarms fewer and fewer as the threshold rises, each with its ups and downs."""
    generator = np.random.default_rng(seed)

    def counts(most: int, rising: bool) -> Counts:
        slope = np.linspace(0, most, len(GRID)) ** generator.uniform(0.5, 2) * most**-0.5
        rows = {word: generator.poisson(slope if rising else slope[::-1]) for word in WORDS}
        return {word: np.minimum(row, most).tolist() for word, row in rows.items()}

    missed, alarms, hours = counts(50, True), [counts(20, False), counts(30, False)], [1.5, 0.5]
    for count in alarms:
        for word in WORDS:
            count[word][-1] = 0  # type: ignore[index]
    swept = Swept().add(missed=missed, said=50)
    for count, length in zip(alarms, hours, strict=True):
        swept.add(false=count, hours=length)
    return swept, [missed, *alarms], hours


def total(counts: Counts, places: Mapping[str, int]) -> int:
    return sum(counts[word][place] for word, place in places.items())


@pytest.mark.parametrize("seed", range(10))
def test_the_budget_holds_in_every_stream_without_words(seed: int) -> None:
    swept, (_, *alarms), hours = drawn(seed)
    for budget in (0, 1, 5, 20):
        chosen = swept.choose(budget)
        for count, length in zip(alarms, hours, strict=True):
            assert total(count, chosen) <= budget * length


@pytest.mark.parametrize("seed", range(10))
def test_a_higher_budget_never_costs_more(seed: int) -> None:
    swept, (missed, *_), _ = drawn(seed)
    costs = [total(missed, swept.choose(budget)) for budget in (0, 0.5, 1, 2, 4, 8, 16, 32, 1e6)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1] == sum(min(missed[word]) for word in WORDS)


@pytest.mark.parametrize("seed", range(10))
def test_no_other_thresholds_miss_fewer_words_with_no_more_false_alarms_expected(seed: int) -> None:
    swept, (missed, *alarms), hours = drawn(seed)

    def expected(count: Counts, word: str, place: int) -> float:
        mean = sum(count[each][place] for each in WORDS) / len(WORDS)
        return max(count[word][place], (count[word][place] + mean) / 2)

    def rate(places: Mapping[str, int]) -> float:
        return sum(
            expected(count, word, place) / length
            for count, length in zip(alarms, hours, strict=True)
            for word, place in places.items()
        )

    for budget in (1, 5, 20):
        chosen = swept.choose(budget)
        for numbers in product(range(len(GRID)), repeat=2):
            places = dict(zip(WORDS, numbers, strict=True))
            assert total(missed, places) >= total(missed, chosen) or rate(places) > rate(chosen)


def test_of_thresholds_that_do_equally_well_the_middle_one_is_taken() -> None:
    assert Swept().add(said=5).add().choose(1) == dict.fromkeys(WORDS, (LAST + 1) // 2)
    swept = Swept().add(missed=steps(0, 15, 1), said=5).add(false=steps(3, 6, 0))
    assert swept.choose(1) == {"yes": 10, "no": 10}  # 6 to 14: at equal cost, with no false alarm
    swept = Swept().add(missed=steps(0, 15, 1), said=5).add(false=steps(3, 10, 0))
    assert swept.choose(1) == {"yes": 12, "no": 12}  # 10 to 14 miss nothing and hear nothing falsely


def test_where_nothing_keeps_to_the_budget_there_are_as_few_false_alarms_as_can_be_and_no_word_is_missed_for_less() -> (
    None
):
    swept = Swept().add(missed=steps(0, 15, 1), said=5).add(false=steps(9, 12, 3))
    assert swept.choose(1) == {"yes": 13, "no": 13}


def test_too_little_sound_without_words_for_the_budget_is_said(
    tiny_build: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(TINY, streams={"false_alarms_per_hour": 2.0})
    with caplog.at_level(logging.WARNING):
        tune.run(settings, tiny_build / "corpus", tiny_build / "export", tmp_path / "tune")
    (said,) = [message for message in caplog.messages if "allow no false alarm" in message]
    assert re.fullmatch(
        r"talk: 0\.0\d h allow no false alarm at 2 an hour, and many words are missed for that; 0\.5 h would do", said
    )


def test_a_budget_holds_however_long_the_recordings_are_and_however_many_words_it_costs() -> None:
    missed = {"yes": [*range(LAST + 1)], "no": [0] * LAST + [500]}
    swept = Swept().add(missed=missed, said=500).add(false={**NONE, "no": [1] * LAST + [0]}, hours=100.0)
    assert swept.choose(0) == {"yes": LAST, "no": LAST}
    assert swept.choose(0.01) == {"yes": LAST, "no": LAST // 2}
    assert swept.choose(0.02) == {"yes": 0, "no": LAST // 2}


def test_a_word_without_false_alarms_is_expected_to_have_some_where_others_have() -> None:
    missed = {"yes": [*range(LAST + 1)], "no": [0] * (LAST + 1)}
    for count, place in ((4, 0), (6, 12)):  # of "no"; of "yes" a quarter of them is expected, and one is within budget
        swept = Swept().add(missed=missed, said=LAST).add(false={**NONE, "no": [count] * 12 + [0] * (LAST - 11)})
        assert swept.choose(1) == {"yes": place, "no": (12 + LAST) // 2}


def test_without_streams_that_hold_no_word_each_word_has_what_costs_least() -> None:
    missed = {"yes": [*range(LAST + 1)], "no": [*range(LAST, -1, -1)]}
    assert Swept().add(missed=missed, said=LAST).choose(0) == {"yes": 0, "no": LAST}


def test_a_word_heard_for_another_and_one_heard_beside_words_cost_as_much_as_one_missed() -> None:
    missed = {**NONE, "yes": [*range(LAST + 1)]}
    mistaken = {**NONE, "yes": [*range(2 * LAST, -1, -2)]}  # by the word that was heard
    assert Swept().add(missed=missed, said=LAST).choose(1)["yes"] == 0
    assert Swept().add(missed=missed, wrong=mistaken, said=LAST).choose(1)["yes"] == LAST
    assert Swept().add(missed=missed, false=mistaken, said=LAST).choose(1)["yes"] == LAST


def test_a_word_that_nobody_says_in_validation_has_the_threshold_of_the_others() -> None:
    missed = {**NONE, "yes": [3] * 8 + [0] + [3] * (LAST - 8)}
    assert Swept().add(missed=missed, said=5, words=["yes"]).add().choose(1) == {"yes": 8, "no": 8}
