"""A threshold for each keyword, chosen on streams made of validation clips."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import receipt
from pipeline.config import SILENCE, UNKNOWN, Settings
from pipeline.corpora import hearing, manifest, streams
from pipeline.corpora.hearing import GRID, ON_VALIDATION, Heard, Judged
from pipeline.corpora.streams import NEGATIVE
from pipeline.device.bundle import EXPORTED, THRESHOLDS, open_network
from pipeline.device.recognizer import DEFAULT_FILE

log = logging.getLogger(__name__)

Counts = NDArray[np.float64]  # (words, thresholds)


def run(settings: Settings, corpus: Path, export: Path, out: Path) -> str:
    """Miss as few words as the allowed number of false alarms an hour permits."""
    inputs = receipt.require(settings, corpus=corpus, export=export)
    with receipt.making(out, "tune", settings, inputs) as work:
        description = json.loads((export / EXPORTED).read_text(encoding="utf-8"))
        labels = description["labels"]
        network = partial(open_network, export, DEFAULT_FILE, description)
        heard = hearing.hear_all(corpus, manifest.VALIDATION, network, labels, settings)
        words = [label for label in labels if label not in (SILENCE, UNKNOWN)]
        swept = {name: hearing.sweep(stream) for name, stream in heard.items()}
        found = choose(words, heard, swept, settings.streams.false_alarms_per_hour)
        figures = {name: hearing.figures(hearing.judge_at(stream, found), stream) for name, stream in heard.items()}
        _warn(heard, figures, words, settings)
        for name, content in {
            THRESHOLDS: found,
            ON_VALIDATION: figures,
            NEGATIVE: streams.negative_digests(settings),
        }.items():
            (work / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return "thresholds " + ", ".join(f"{word} {threshold:.2f}" for word, threshold in found.items())


def _warn(heard: Mapping[str, Heard], figures: Mapping[str, Any], words: Sequence[str], settings: Settings) -> None:
    budget_per_hour = settings.streams.false_alarms_per_hour
    wordless = {name: figure for name, figure in figures.items() if not figure["words"]}
    if not wordless:
        log.warning("no sound without words: nothing limits false alarms; give NEGATIVE, or corpus.sentences")
    for name, figure in wordless.items():
        hours = figure["hours"]
        if figure["false_alarms_per_hour"] > budget_per_hour:
            log.warning("%s: %d false alarms in %.2f h, more than was asked for", name, figure["false"], hours)
        if budget_per_hour * hours < 1:
            shortage = (
                "%s: %.2f h allow no false alarm at %g an hour, and many words are missed for that; %.1f h would do"
            )
            log.warning(shortage, name, hours, budget_per_hour, 1 / budget_per_hour if budget_per_hour else np.inf)
    said = {stated.word for stream in heard.values() for stated in stream.said}
    if unsaid := [word for word in words if word not in said]:
        log.warning("no validation clip of %s: its threshold is that of the others", ", ".join(unsaid))


def choose(
    words: Sequence[str], heard: Mapping[str, Heard], swept: Mapping[str, Sequence[Judged]], budget_per_hour: float
) -> dict[str, float]:
    """For each word the threshold of `GRID` that costs least, while no stream without words is over the budget.

    A cost is a word missed, taken for another, or heard where another was said. A price on false alarms is raised until
    they are within the budget; each word then has the threshold that is best at that price (Lagrange's multiplier).
    Where no price brings them there, the highest leaves as few as can be.
    """
    with_words = [name for name, stream in heard.items() if stream.said]
    costs = sum((_costs(words, heard[name], swept[name]) for name in with_words), np.zeros((len(words), len(GRID))))
    alarms = {name: _expected(_alarms(words, swept[name])) for name in heard if name not in with_words}
    rate = sum((count / heard[name].hours for name, count in alarms.items()), np.zeros_like(costs))
    for price in [1e-9, *np.geomspace(1e-3, 1e6, 91)]:  # the first only tells apart what costs the same
        best = _middle_of_best(costs + price * rate)
        spent = {name: count[np.arange(len(words)), best].sum() for name, count in alarms.items()}
        if all(count <= budget_per_hour * heard[name].hours for name, count in spent.items()):
            break
    said = {stated.word for stream in heard.values() for stated in stream.said}
    of_said = [n for word, n in zip(words, best, strict=True) if word in said]
    usual = int(np.median(of_said)) if of_said else len(GRID) - 1
    return {word: GRID[n if word in said else usual] for word, n in zip(words, best, strict=True)}


def _expected(alarms: Counts) -> Counts:
    """A word with fewer false alarms than the mean of all words is expected to have half as many fewer elsewhere.

    That a word had none in an hour says little of the next hour; what all words had says more (shrinkage towards the
    mean, Stein 1956).
    """
    return np.maximum(alarms, (alarms + alarms.mean(axis=0)) / 2)


def _middle_of_best(costs: Counts) -> NDArray[np.int64]:
    """For each word the middle one of the thresholds that cost least: as far from either side as can be."""
    best = (np.flatnonzero(row == row.min()) for row in costs)
    return np.array([places[len(places) // 2] for places in best])


def _costs(words: Sequence[str], heard: Heard, swept: Sequence[Judged]) -> Counts:
    said = [stated.word for stated in heard.said]
    matched = [[said_.word for said_, _ in judged.matched] for judged in swept]
    other = [[known.detection.word for _, known in judged.wrong] for judged in swept]
    missed = np.array([[said.count(word) - of.count(word) for of in matched] for word in words])
    wrong = np.array([[of.count(word) for of in other] for word in words])
    return missed + wrong + _alarms(words, swept)


def _alarms(words: Sequence[str], swept: Sequence[Judged]) -> Counts:
    false = [[known.detection.word for known in judged.false] for judged in swept]
    return np.array([[of.count(word) for of in false] for word in words], np.float64)
