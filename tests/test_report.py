"""The page at the end of `make`: what stands on it, that it keeps to itself, and that a stranger's text stays text."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, see

from benchmarks.runtimes.runtimes import ENVIRONMENT
from pipeline import config
from pipeline.config import Report
from pipeline.corpora import manifest
from pipeline.corpora.manifest import LEFT_OUT, OFFICIAL, TESTING
from pipeline.pages import tables
from pipeline.stages import evaluate, report

HOSTILE = "<img src=x onerror=alert(1)>"

Metrics = dict[str, Any]


@pytest.fixture
def drawn(tiny_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Draw the page of the tiny build, its metrics changed first."""
    monkeypatch.setattr(report.receipt, "check_files", lambda *_: None)  # else the change would be refused

    def draw(change: Callable[[Metrics], object] = lambda _: None, *, voices: bool = True) -> str:
        evaluated = Path(shutil.copytree(tiny_build / "evaluate", tmp_path / "evaluate", dirs_exist_ok=True))
        metrics = json.loads((tiny_build / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
        change(metrics)
        (evaluated / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        settings = config.load(TINY, report={"voices": voices})
        page = report.run(settings, tiny_build / "corpus", evaluated, tiny_build / "bundle", tmp_path / "report")
        return Path(page).read_text(encoding="utf-8")

    return draw


def wrong_clips(build: Path, count: int = 2, wrong_in_all: int = 0, **changed: str) -> Callable[[Metrics], None]:
    """As if so many test clips were taken for another word."""
    clips = manifest.examples(manifest.read(build / "corpus"), TESTING)[:count]
    worst = [
        {"sha256": clip.sha256, "split": TESTING, "speaker": f"speaker {n}", "word": clip.word, "label": clip.label,
         "file": f"f{n}.wav", "found": "no", "score": 0.9} | changed
        for n, clip in enumerate(clips)
    ]  # fmt: skip
    return lambda metrics: metrics.update(worst_clips=worst, wrong_clips=wrong_in_all or count)


# --- what stands on it ---


def test_worst_clips_are_pictures_and_sounds_with_what_was_said_and_heard(
    tiny_build: Path, drawn: Callable[..., str]
) -> None:
    page = drawn(wrong_clips(tiny_build))
    assert page.count("data:audio/wav;base64,") == page.count("data:image/png;base64,") == 2
    assert "heard <b>no</b> (0.90)" in page
    assert "f1.wav, speaker 1" in page
    assert "gets wrong: 2, first those that it is surest of" in page
    assert "gets wrong: 1,234, the 2 that it is surest of are here" in drawn(wrong_clips(tiny_build, 2, 1_234))


def test_without_voices_nothing_tells_who_spoke(tiny_build: Path, drawn: Callable[..., str]) -> None:
    def change(metrics: Metrics) -> None:
        wrong_clips(tiny_build)(metrics)
        metrics["data"]["warnings"] = ["anna at home.wav: not used, it lies outside the word folders"]

    page = drawn(change, voices=False)
    assert page.count("data:image/png;base64,") == 2
    for private in ("data:audio", "<audio", "f1.wav", "speaker 1", "anna at home"):
        assert private not in page
    assert "anna at home" in drawn(change)


def test_where_nothing_is_wrong_it_says_so(drawn: Callable[..., str]) -> None:
    page = drawn(lambda metrics: metrics.update(worst_clips=[], wrong_clips=0))
    assert "None: every clip is recognised." in page
    assert "<audio" not in page


def test_the_official_archive_stands_beside_the_testing_split(tiny_build: Path, drawn: Callable[..., str]) -> None:
    def change(metrics: Metrics) -> None:
        wrong_clips(tiny_build, split=OFFICIAL)(metrics)
        metrics["splits"][OFFICIAL] = metrics["splits"][TESTING] | {"of": "official testing split: recordings"}

    page = drawn(change)
    for heading in ("Words", "What is taken for what", "Calibration"):
        for split in ("testing", "official testing"):
            assert f">{heading}, {split} split</h2>" in page
    assert page.count('<h2 id="worst">') == 1
    assert page.count("<br>official testing split") == 2
    assert "clips are recognised" in page.split("official testing split: recordings")[0].splitlines()[-1]


def test_a_personalised_one_is_shown_with_what_it_was_before(drawn: Callable[..., str]) -> None:
    def change(metrics: Metrics) -> None:
        models = metrics["splits"][TESTING]["models"]
        models[tables.BEFORE] = models[evaluate.DEFAULT_FILE] | {"accuracy": 0.123}
        metrics["splits"][LEFT_OUT] = metrics["splits"][TESTING]

    page = drawn(change)
    assert "No person was recorded for it, but for the takes that it was personalised with." in page
    assert page.count("12.3 % before it was personalised") == 2
    page = drawn()
    assert "No person was recorded for it. " in page
    assert "before it was" not in page


def test_what_a_stranger_wrote_stays_text(tiny_build: Path, drawn: Callable[..., str]) -> None:
    def change(metrics: Metrics) -> None:
        wrong_clips(tiny_build, file=HOSTILE, word=HOSTILE, speaker=HOSTILE, found=HOSTILE)(metrics)
        metrics["data"]["rejected"], metrics["data"]["rejected_files"] = {HOSTILE: 3}, 3
        metrics["data"]["warnings"] = [HOSTILE]

    page = drawn(change)
    assert HOSTILE not in page
    # Of two clips word, found, file and speaker; word and found of each's picture and sound. A reason and a warning.
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 2 * 8 + 2
    assert "Files that can't be used: 3, by reason" in page


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield float(value)


def test_every_share_on_it_stands_in_the_metrics(tiny_build: Path, drawn: Callable[..., str]) -> None:
    metrics = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())
    known = {f"{100 * number:.{digits}f}" for number in numbers(metrics) for digits in (1, 2)}
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>|\b9[05] %", "", drawn(), flags=re.DOTALL)  # 95 % intervals
    shown = re.findall(r"(\d+\.\d+)(?= %| to )", text)
    assert len(shown) > 50
    hours = {f"{number:.1f}" for number in numbers(metrics["streams"])}
    assert set(shown) <= known | hours


def test_the_surest_mistakes_come_first_and_each_once() -> None:
    """Clips 4 and 5 are in the archive too, as one of Speech Commands may be."""

    def examples(split: str, numbers: range) -> evaluate.Examples:
        clips = [manifest.Clip(f"c{n}.wav", "yes", "anna", split, "folder", "yes", f"{n:064}") for n in numbers]
        mfcc, truth = np.zeros((len(clips), 1, 1), np.float32), np.full(len(clips), 2, np.int32)
        return evaluate.Examples(Path(), config.Audio(), clips, mfcc, truth)

    scores = np.zeros((8, 3), np.float32)
    scores[:, 1] = np.linspace(0.5, 0.8, 8)  # of another label
    scores[6, 2] = 0.9  # right
    tests = {TESTING: examples(TESTING, range(6)), OFFICIAL: examples(OFFICIAL, range(4, 8))}
    wrong = evaluate._wrong({TESTING: scores[:6], OFFICIAL: scores[4:]}, tests, ["a", "b", "yes"])
    assert [row["file"] for row in wrong] == [f"c{n}.wav" for n in (7, 5, 4, 3, 2, 1, 0)]
    assert {row["found"] for row in wrong} == {"b"}
    assert wrong[0]["score"] == pytest.approx(0.8)
    assert wrong[0]["split"] == OFFICIAL


def test_twenty_at_most_are_kept_and_all_are_counted(tiny_build: Path) -> None:
    metrics = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())
    figure = metrics["splits"][TESTING]["models"][evaluate.DEFAULT_FILE]
    assert metrics["wrong_clips"] == figure["clips"] - np.trace(figure["confusion"])
    assert len(metrics["worst_clips"]) == min(metrics["wrong_clips"], 20)


def test_the_corpus_is_counted_by_word_and_split(tiny_build: Path) -> None:
    data = json.loads((tiny_build / "evaluate" / "metrics.json").read_text())["data"]
    clips = manifest.read(tiny_build / "corpus")
    for label, counts in data["clips"].items():
        for split, count in counts.items():
            assert count == sum((clip.label, clip.split) == (label, split) for clip in clips)
    assert data["speakers"]["training"] == 16
    assert data["rejected_files"] == 0


def test_files_that_cannot_be_used_are_counted_by_reason(tmp_path: Path) -> None:
    """By what is wrong with them, not by how much."""
    manifest.write(tmp_path, [], [])
    reasons = (
        "too short: 80 ms, at least 100 ms are needed",
        "too short: 9 ms, at least 100 ms are needed",
        "no samples",
    )
    manifest.write_rejected(tmp_path, [manifest.Rejected(f"{n}.wav", reason) for n, reason in enumerate(reasons)])
    counts = evaluate._counts(tmp_path, [])
    assert counts["rejected"] == {"too short": 2, "no samples": 1}
    assert counts["rejected_files"] == 3


def test_voices_are_on_it_unless_settings_say_otherwise() -> None:
    assert Report().voices is True


# --- in a browser ---


@pytest.mark.browser
@pytest.mark.skipif(not (ENVIRONMENT / "ready").exists(), reason="there is no Playwright; run: make runtimes")
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium; on Debian: apt install chromium")
def test_it_is_read_on_a_phone_and_at_night_and_asks_nobody(
    tiny_build: Path, drawn: Callable[..., str], tmp_path: Path
) -> None:
    drawn(wrong_clips(tiny_build, word=HOSTILE, file=HOSTILE + "x" * 200))
    page = (tmp_path / "report" / "index.html").as_uri()
    inks = {}
    for view in see("read", page)["views"]:
        assert (view["errors"], view["hosts"]) == ([], [""])
        assert view["wide"] <= view["width"]
        assert view["wide_in_print"] <= view["paper_px"]
        assert view["pictures"] == [True, True]
        assert view["lengths_s"] == pytest.approx([1.0, 1.0])
        inks[view["dark"]] = view["ink"]
        assert view["ink_in_print"] == "rgb(0, 0, 0)"
    assert inks == {False: "rgb(0, 0, 0)", True: "rgb(255, 255, 255)"}
