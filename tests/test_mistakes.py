"""Figures of made-up mistakes that a person could work out by hand: clips without keywords, labels, speakers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from pipeline.config import SILENCE, UNKNOWN
from pipeline.corpora import mistakes
from pipeline.corpora.manifest import OTHERS, TESTING, TRAINING, VALIDATION, Clip
from pipeline.corpora.mistakes import KNOWN_NOISE, KNOWN_WORDS, NEW_NOISE, NEW_WORDS
from pipeline.device.recognizer import DEFAULT_FILE
from pipeline.pages.tables import _without_keywords

LEARNT = {"yes", "bed"}


def clip(label: str, word: str = "", split: str = TESTING, speaker: str = "anna") -> Clip:
    return Clip("", label, speaker, split, "made", word or label, "")


TAKEN = [
    (clip("yes"), "no"),  # a keyword: not counted here
    (clip(UNKNOWN, "bed"), UNKNOWN),
    (clip(UNKNOWN, "bed", OTHERS), "yes"),
    (clip(UNKNOWN, "zoo", OTHERS), UNKNOWN),
    (clip(UNKNOWN, "zoo", OTHERS), SILENCE),
    (clip(UNKNOWN, "yen", OTHERS), "yes"),
    (clip(UNKNOWN, "yen"), "yes"),
    (clip(SILENCE), SILENCE),
    (clip(SILENCE, "alarm", OTHERS), UNKNOWN),
    (clip(SILENCE, "alarm", OTHERS), "no"),
    (clip(SILENCE, "music", OTHERS), SILENCE),
]


def figures() -> dict[str, Any]:
    clips, found = zip(*TAKEN, strict=True)
    return mistakes.without_keywords(clips, found, LEARNT)


def test_what_is_no_keyword_is_pooled_over_the_splits_and_grouped_by_how_new_it_is() -> None:
    found = figures()
    counted = {group: (f["clips"], f["recall"], f["taken_for_keyword"]) for group, f in found.items()}
    assert counted == {
        NEW_WORDS: (4, 0.25, 0.5),
        KNOWN_WORDS: (2, 0.5, 0.5),
        KNOWN_NOISE: (1, 1.0, 0.0),
        NEW_NOISE: (3, 1 / 3, 1 / 3),
    }
    assert list(found) == [NEW_WORDS, KNOWN_WORDS, KNOWN_NOISE, NEW_NOISE]
    parts = {word: (f["clips"], f["recall"], f["taken_for_keyword"]) for word, f in found[NEW_WORDS]["parts"].items()}
    assert parts == {"yen": (2, 0.0, 1.0), "zoo": (2, 0.5, 0.0)}
    assert found[NEW_NOISE]["parts"].keys() == {"alarm", "music"}
    assert json.loads(json.dumps(found)) == found


def test_a_share_has_its_wilson_interval() -> None:
    for figure in figures().values():
        for share in ("recall", "taken_for_keyword"):
            assert figure[f"{share}_interval"] == mistakes.wilson(
                round(figure[share] * figure["clips"]), figure["clips"]
            )
    assert mistakes.wilson(1, 10) == pytest.approx([0.0179, 0.4042], abs=1e-4)  # Wilson 1927, by hand


def test_a_group_without_clips_is_left_out() -> None:
    assert mistakes.without_keywords([clip(UNKNOWN, "bed")], [UNKNOWN], LEARNT).keys() == {KNOWN_WORDS}


def test_only_clips_of_the_training_split_are_learnt() -> None:
    clips = [clip(UNKNOWN, "bed", TRAINING), clip(UNKNOWN, "cat", VALIDATION), clip(UNKNOWN, "zoo", OTHERS)]
    assert mistakes.words_learnt(clips) == {"bed"}


def test_the_table_names_each_group_with_its_figures() -> None:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(_without_keywords({"without_keywords": {DEFAULT_FILE: figures()}}))
    lines = captured.get().splitlines()
    assert lines[0].startswith("commands.tflite on clips without keywords")
    rows = {cells[0]: cells[1:] for line in lines if len(cells := [c.strip() for c in line.split("│")[1:-1]]) > 1}
    assert rows[NEW_WORDS] == ["4", "25.0%", "4.6% to 69.9%", "50.0%", "15.0% to 85.0%"]
    assert list(rows) == [NEW_WORDS, KNOWN_WORDS, KNOWN_NOISE, NEW_NOISE]


# --- errors ---


def test_errors_are_shared_out_to_labels_and_to_speakers() -> None:
    clips = [clip("yes", speaker="anna")] * 4 + [clip("no", speaker="ben")] * 2
    clips += [clip(UNKNOWN, "bed", speaker=f"s{n}") for n in range(9)]
    clips += [clip(SILENCE, speaker="noise"), clip("no", speaker="")]  # neither is of a speaker
    found = ["no", "no", "yes", "no", "yes", "no", "yes"] + [UNKNOWN] * 8 + [UNKNOWN, "yes"]
    figures = mistakes.errors(clips, found)
    assert figures["by_label"] == {"yes": 3 / 7, "no": 2 / 7, UNKNOWN: 1 / 7, SILENCE: 1 / 7}
    assert list(figures["by_label"])[:2] == ["yes", "no"]
    assert figures["speakers"] == [
        {"speaker": "anna", "clips": 4, "errors": 3},
        {"speaker": "s0", "clips": 1, "errors": 1},  # of as many errors, who has fewer clips comes first
        {"speaker": "ben", "clips": 2, "errors": 1},
    ]
    assert figures["worst_tenth"] == 4 / 5  # two of eleven speakers
    assert json.loads(json.dumps(figures)) == figures


def test_at_most_so_many_speakers_are_listed_and_the_share_is_of_all() -> None:
    clips = [clip("yes", speaker=f"s{n:02}") for n in range(50)]
    figures = mistakes.errors(clips, ["no"] * 50)
    assert len(figures["speakers"]) == mistakes.MAX_SPEAKERS
    assert figures["worst_tenth"] == 5 / 50


def test_without_errors_there_is_no_share() -> None:
    assert mistakes.errors([clip("yes")], ["yes"]) == {"by_label": {}, "speakers": [], "worst_tenth": None}
