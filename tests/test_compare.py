"""Two builds side by side: the test for paired clips by hand-worked numbers, and what a person is told."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline import receipt
from pipeline.cli import main
from pipeline.config import Settings, Train, load
from pipeline.corpora import manifest
from pipeline.corpora.manifest import TESTING, Clip, Found
from pipeline.device.recognizer import DEFAULT_FILE
from pipeline.errors import StaleInput
from pipeline.pages import compare

LABELS = ["_silence_", "_unknown_", "yes", "no"]


def figure(right: int, clips: int) -> dict[str, Any]:
    return {
        "clips": clips, "accuracy": right / clips, "accuracy_interval": [0.1, 0.9], "expected_calibration_error": 0.02,
        "recall": {"_silence_": None, "_unknown_": None, "yes": right / clips, "no": None},
    }  # fmt: skip


def metrics(right: int, clips: int, **changed: Any) -> dict[str, Any]:
    stream = {
        "words": 8, "missed": 0.25, "missed_interval": [0.1, 0.5],
        "false_alarms_per_hour": 1.0, "false_alarms_per_hour_interval": [0.0, 4.0],
    }  # fmt: skip
    return {
        "labels": LABELS,
        "data": {"corpus": "folder", "origin": "recordings of people"},
        "splits": {TESTING: {"models": {DEFAULT_FILE: figure(right, clips)}}},
        "without_keywords": {DEFAULT_FILE: {}},
        "streams": {"at_thresholds": {"words in noise, 20 dB": stream}},
        "files": {DEFAULT_FILE: {"bytes": 1000, "gzip_bytes": 500, "latency_ms": 0.5}},
    } | changed


def make_build(
    folder: Path,
    right: Mapping[str, bool],
    settings: Settings | None = None,
    speakers: int = 1000,
    unknown: Collection[str] = (),
    split: str = TESTING,
    **changed: Any,
) -> Path:
    """A build whose file for phones got these clips of “yes” right or wrong; `unknown` have another label in it."""
    made = settings or Settings()
    clips = [
        Clip(
            f"yes/{name}.wav",
            "_unknown_" if name in unknown else "yes",
            f"s{n % speakers}",
            split,
            "folder",
            "yes",
            hashlib.sha256(name.encode()).hexdigest(),
        )
        for n, name in enumerate(right)
    ]
    with receipt.making(folder / "corpus", "corpus", made) as work:
        manifest.write(work, clips, LABELS)
        manifest.write_about(work, Found(("yes", "no"), [], licence="none"))
    with receipt.making(folder / "evaluate", "evaluate", made, [receipt.read(folder / "corpus", "corpus")]) as work:
        (work / "metrics.json").write_text(json.dumps(metrics(sum(right.values()), len(right), **changed)))
        columns = ["split", "path", "speaker", "word", "label", *(f"{DEFAULT_FILE}:{label}" for label in LABELS)]
        rows = [
            [split, clip.path, clip.speaker, "yes", clip.label, 0.1, 0.1, *((0.6, 0.2) if good else (0.2, 0.6))]
            for clip, good in zip(clips, right.values(), strict=True)
        ]
        manifest.write_rows(work / "predictions.csv", columns, rows)
    return folder


def by_cases(both: int, only_first: int, only_second: int, neither: int) -> tuple[dict[str, bool], dict[str, bool]]:
    """The same clips in two builds, so many of each case."""
    counts = {"b": both, "f": only_first, "s": only_second, "n": neither}
    names = [f"{case}{n}" for case, count in counts.items() for n in range(count)]
    return {name: name[0] in "bf" for name in names}, {name: name[0] in "bs" for name in names}


# --- by more than chance ---


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 2**5),
        (1, 7, 2 * (1 + 8) / 2**8),
        (5, 15, 2 * (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20),
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p_value: float) -> None:
    assert compare.mcnemar(only_first, only_second) == pytest.approx(p_value)
    assert compare.mcnemar(only_second, only_first) == pytest.approx(p_value)


def test_clips_are_paired_and_the_other_way_round_is_its_mirror(tmp_path: Path) -> None:
    first, second = by_cases(both=60, only_first=5, only_second=15, neither=20)
    one, other = make_build(tmp_path / "a", first), make_build(tmp_path / "b", second)
    (paired,) = compare.compare(one, other).paired
    assert (paired.clips, paired.right, paired.only_first, paired.only_second) == (100, (65, 75), 5, 15)
    assert paired.points == pytest.approx(10.0)
    assert paired.margin == pytest.approx(1.984 * (0.2 - 0.01) ** 0.5 * 100 / 99**0.5, rel=1e-3)  # each speaker once
    assert paired.is_more_than_chance
    (mirrored,) = compare.compare(other, one).paired
    assert (mirrored.points, mirrored.margin, mirrored.p_value) == (
        -paired.points,
        pytest.approx(paired.margin),
        paired.p_value,
    )
    said = compare.verdict(compare.compare(one, other))
    better = f"{other} is better by 10.00 points, more than chance gives (p = 0.041)"
    assert said == [f"{DEFAULT_FILE}, testing, 100 clips of both: {better}."]


def test_what_one_speakers_clips_say_is_not_more_than_chance(tmp_path: Path) -> None:
    first, second = by_cases(both=60, only_first=5, only_second=15, neither=20)
    one, other = make_build(tmp_path / "a", first, speakers=1), make_build(tmp_path / "b", second, speakers=1)
    (paired,) = compare.compare(one, other).paired
    assert paired.p_value < 0.05
    assert paired.margin == math.inf  # another speaker may be anything
    assert not paired.is_more_than_chance


def test_a_build_and_itself_differ_in_nothing(tmp_path: Path) -> None:
    build = make_build(tmp_path / "a", by_cases(3, 0, 0, 1)[0])
    comparison = compare.compare(build, build)
    assert (comparison.settings, comparison.figures, comparison.in_one_only) == ([], [], (0, 0))
    assert compare.verdict(comparison)[0].endswith("4 clips of both: both are right as often.")


def test_the_same_recording_counts_wherever_it_lies_and_others_are_told_of(tmp_path: Path) -> None:
    one = make_build(tmp_path / "a", {"x": True, "y": True, "z": False})
    other = make_build(tmp_path / "b", {"z": True, "x": True})
    comparison = compare.compare(one, other)
    assert [(p.clips, p.only_first, p.only_second) for p in comparison.paired] == [(2, 0, 1)]
    assert comparison.in_one_only == (1, 0)
    said = f"1 clips of the same splits are in {one} alone, or have another label in the other."
    assert said in compare.verdict(comparison)


def test_a_clip_under_another_label_is_not_compared_and_other_labels_are_told_of(tmp_path: Path) -> None:
    one = make_build(tmp_path / "a", {"x": True, "y": True}, labels=[*LABELS, "lamp"])
    other = make_build(tmp_path / "b", {"x": True, "y": True}, unknown=["y"])
    comparison = compare.compare(one, other)
    assert [(p.clips, p.only_first, p.only_second) for p in comparison.paired] == [(1, 0, 0)]
    assert comparison.in_one_only == (1, 1)
    assert [line for line in compare.verdict(comparison) if line.startswith("Labels of")] == [
        f"Labels of {one} alone: lamp. Fewer to choose from are the easier task."
    ]


def test_without_a_clip_in_both_nothing_is_said_of_chance(tmp_path: Path) -> None:
    comparison = compare.compare(make_build(tmp_path / "a", {"x": True}), make_build(tmp_path / "b", {"y": False}))
    assert comparison.paired == []
    assert compare.verdict(comparison)[0].startswith("No clip to test on is in both builds")


# --- settings and figures ---


def test_settings_that_differ_are_listed_and_paths_are_not(tmp_path: Path) -> None:
    plain = load(corpus={"kind": "folder", "source": "/home/anna/takes"})
    other = dataclasses.replace(load(corpus={"kind": "folder", "source": "/elsewhere"}), train=Train(epochs=5))
    # A receipt of `evaluate` holds what its inputs hold; here that is the corpus alone.
    builds = []
    for name, settings in (("a", plain), ("b", other)):
        build = make_build(tmp_path / name, {"x": True}, settings)
        content = json.loads((build / "evaluate" / "receipt.json").read_text())
        content["settings"] = {section: settings.section(section) for section in ("corpus", "train")}
        (build / "evaluate" / "receipt.json").write_text(json.dumps(content))
        builds.append(build)
    assert compare.compare(*builds).settings == [("train.epochs", "24", "5")]


def test_figures_that_differ_are_listed(tmp_path: Path) -> None:
    one = make_build(tmp_path / "a", {"x": True})
    faster = {DEFAULT_FILE: {"bytes": 1000, "gzip_bytes": 500, "latency_ms": 0.25}}
    other = make_build(tmp_path / "b", {"x": False}, files=faster)
    assert compare.compare(one, other).figures == [
        ("testing, recall of yes", "100.0 %", "0.0 %"),
        (f"{DEFAULT_FILE}, one window", "0.50 ms", "0.25 ms"),
    ]


# --- the command ---


def test_the_command_shows_tables_and_writes_a_page_on_which_a_strangers_text_stays_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>[bold]"
    one = make_build(tmp_path / "a", {"x": True, "y": True})
    data, labels = {"corpus": "folder", "origin": hostile}, [*LABELS, hostile]
    other = make_build(tmp_path / "b", {"x": True, "y": False}, data=data, labels=labels)
    page = tmp_path / "page.html"
    shown = CliRunner().invoke(main, ["compare", str(one), str(other), "--page", str(page)])
    assert shown.exit_code == 0, shown.output
    assert "-50.00 ±" in shown.output
    assert f"The page: {page}" in shown.output.replace("\n", "")
    assert f"Labels of {other} alone: {hostile}." in shown.output.replace("\n", "")
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written
    assert written.count("&lt;script&gt;alert(1)&lt;/script&gt;[bold]") == 2  # a label and a figure
    assert "default-src &#39;none&#39;" not in written
    assert "default-src 'none'" in written
    assert "-50.00 ± " in written


@pytest.mark.parametrize("damage", ["no build", "gone", "edited", "remade"])
def test_what_cant_be_compared_is_said_in_one_line(tmp_path: Path, damage: str) -> None:
    one, other = make_build(tmp_path / "a", {"x": True}), make_build(tmp_path / "b", {"x": True})
    if damage == "no build":
        shutil.rmtree(other)
        said = (
            f"{other}: no such build, or not evaluated yet; give the folder that make filled, such as build/synthetic"
        )
    elif damage == "gone":
        shutil.rmtree(other / "evaluate")
        said = (
            f"{other}: no such build, or not evaluated yet; give the folder that make filled, such as build/synthetic"
        )
    elif damage == "remade":  # with the same names, as synthetic clips have them; the evaluation is of the ones before
        clips = [dataclasses.replace(clip, sha256="0" * 64) for clip in manifest.read(other / "corpus")]
        with receipt.making(other / "corpus", "corpus", Settings()) as work:
            manifest.write(work, clips, LABELS)
        said = f"stale: {other}/evaluate was made from another corpus; run: make evaluate"
    else:
        (other / "evaluate" / "predictions.csv").write_text("split\n")
        said = f"edited: {other}/evaluate/predictions.csv was edited since it was made; run: "
    shown = CliRunner().invoke(main, ["compare", str(one), str(other)])
    assert shown.exit_code == StaleInput("").exit_code
    assert shown.output.startswith(f"Error: {said}")
    assert shown.output.count("\n") == 1


def test_a_page_that_cant_be_written_is_said_before_anything_is_worked_out(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["compare", "nowhere", "nowhere", "--page", str(tmp_path / "no" / "page.html")])
    assert shown.exit_code == 1
    assert f"Error: {tmp_path}/no/page.html: no such folder; make it, or choose another place" in shown.output


def test_no_verdict_is_given_on_clips_that_are_only_measured_on(tmp_path: Path) -> None:
    """Of the split `others` there are as many kinds of noise as were convenient."""
    one, other = (make_build(tmp_path / name, {"x": name == "a"}, split=manifest.OTHERS) for name in "ab")
    comparison = compare.compare(one, other)
    assert len(comparison.paired) == 1
    (line,) = compare.verdict(comparison)
    assert line.startswith("No clip to test on is in both builds with the same label")
