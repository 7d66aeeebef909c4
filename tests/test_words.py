"""From a list of words of one's own to a bundle, as a person does it, and `words`, which says what is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, run_make

from pipeline.cli import main
from pipeline.corpora import manifest
from pipeline.device.bundle import FORMAT, verify

TINY_FRENCH = """[corpus]
language = "fr"
variants = 6
takes = 3
sentences = 30
"""


def run(*arguments: object, **environment: str) -> Result:
    unset = dict.fromkeys(("CORPUS", "SOURCE", "WORDS", "PARAMS", "NEGATIVE"))
    return CliRunner().invoke(main, [str(one) for one in arguments], env={**unset, **environment})


def tiny(folder: Path, corpus: str) -> Path:
    """The tiny settings with another corpus, and trained so little that nothing is recognised."""
    rest = (ROOT / "params" / "tiny.toml").read_text().partition("[features]")[2].replace("epochs = 20", "epochs = 2")
    path = folder / "settings.toml"
    path.write_text(f"{corpus}\n[features]{rest}")
    return path


# --- from a list to a bundle ---


@pytest.mark.slow
def test_from_english_words_and_a_phrase_to_a_bundle(tmp_path: Path) -> None:
    words = ["lamp", 'say "yes"', "naïve [[naI'i:v]]", "`>pwned`"]
    accents = 'accents = ["en-us", "en-gb-scotland"]'
    corpus = f"[corpus]\n{accents}\nvariants = 6\nkokoro_voices = 0\ntakes = 3\nsentences = 30\n"
    made = run_make(tmp_path / "build", WORDS=", ".join(words), PARAMS=str(tiny(tmp_path, corpus)))
    assert made.returncode == 0, made.stdout + made.stderr
    assert not list(ROOT.glob("pwned"))
    assert re.search(r"^  naïve +naɪˈiːv +\[\[naI'i:v\]\]$", made.stderr, re.MULTILINE)
    assert "25 % of training's other words are keywords with a sound or two changed" in made.stderr
    description = check(tmp_path / "build", ["lamp", 'say "yes"', "naïve", "`>pwned`"])
    assert description["language"] == "en"
    assert description["pronunciations"]["naïve"] == {"en-us": "naɪˈiːv", "en-gb-scotland": "naɪˈiːv"}
    assert description["audio"]["clip_ms"] > 1_000
    again = run_make(tmp_path / "build", WORDS=", ".join(words), PARAMS=str(tmp_path / "settings.toml"))
    assert "-m pipeline corpus" not in again.stdout  # the window is the same each time


@pytest.mark.slow
def test_from_french_words_to_a_bundle(tmp_path: Path) -> None:
    made = run_make(tmp_path / "build", WORDS="lampe, bouilloire, l'été", PARAMS=str(tiny(tmp_path, TINY_FRENCH)))
    assert made.returncode == 0, made.stdout + made.stderr
    description = check(tmp_path / "build", ["lampe", "bouilloire", "l'été"])
    assert description["language"] == "fr"
    assert description["pronunciations"]["l'été"] == {"fr": "letˈe", "fr-be": "letˈe", "fr-ch": "letˈe"}
    assert description["audio"]["clip_ms"] == 1_000
    clips = manifest.read(tmp_path / "build" / "corpus")
    assert {clip.path.split("/")[1].split("+")[0] for clip in clips if clip.word == "lampe"} == {"fr", "fr-be", "fr-ch"}


def check(build: Path, words: list[str]) -> dict[str, Any]:
    """What every bundle of one's own words must be; what it says of itself."""
    verify(build / "bundle")
    description: dict[str, Any] = json.loads((build / "bundle" / "commands.json").read_text())
    assert description["labels"][2:] == list(description["thresholds"]) == list(description["pronunciations"]) == words
    shown = run("words", build / "bundle")
    assert shown.exit_code == 0
    rows = shown.stdout.splitlines()
    assert re.fullmatch(r"word +pronunciation +threshold +close to", rows[0])
    for word, row in zip(words, rows[1:], strict=True):
        ipa = next(iter(description["pronunciations"][word].values()))
        assert re.match(rf"{re.escape(word)} +{re.escape(ipa)} +{description['thresholds'][word]:.2f}", row)
        assert ipa in (build / "bundle" / "MODEL_CARD.md").read_text()
    return description


# --- what a person gets wrong ---


@pytest.mark.parametrize(
    ("words", "corpus", "message"),
    [
        ("lamp, …", "", r"corpus\.keywords: '…' has no letter to say; write the word as it is spoken"),
        ("four, for", "", r"corpus\.keywords: 'four' and 'for' are both said fˈɔːɹ; remove one, or .*"),
        ("lamp [[l'€]]", "", r"corpus\.keywords: lamp \[\[l'€\]\]: the voice en-us knows no phoneme after .*"),
        ("lamp [[l'amp", "", r".*settings\.toml: corpus\.keywords: \"lamp \[\[l'amp\": write a word and how .*"),
        ("lampe", 'language = "zz"', r"corpus\.language: eSpeak NG has no voice for 'zz'; it speaks af am .*"),
        ("lampe", "language = 7", r".*settings\.toml: corpus\.language is 7; give a value of type str"),
        ("lampe", 'langauge = "fr"', r".*settings\.toml: unknown key corpus\.langauge; known: .* language, .*"),
        ("電気", 'language = "ja"', r"corpus\.keywords: the voice ja can't read '電気', but says .*"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_list_is_one_line(words: str, corpus: str, message: str, tmp_path: Path) -> None:
    accents = "" if corpus else 'accents = ["en-us"]'
    settings = tiny(tmp_path, f"[corpus]\nvariants = 3\n{corpus}\n{accents}\n")
    result = run("corpus", tmp_path / "corpus", WORDS=words, PARAMS=str(settings))
    assert result.exit_code in (1, 2)
    assert re.fullmatch(f"Error: {message}\n", result.stderr)
    assert result.stdout == ""
    assert not (tmp_path / "corpus").exists()


# --- the window ---


@pytest.mark.parametrize(
    ("words", "corpus", "audio", "clip_ms"),
    [
        ("lamp, play the music again", "", "", 2_100),
        ("lamp, play the music again", "", "[audio]\nclip_ms = 1200\n", 1_200),
        ("lamp", "", "", 1_000),
        ("lamp, play the music again", 'kind = "speech_commands"', "", 1_000),
    ],
)
def test_the_window_is_widened_for_synthetic_phrases_where_none_is_set(
    words: str, corpus: str, audio: str, clip_ms: int, tmp_path: Path
) -> None:
    path = tiny(tmp_path, f'{audio}\n[corpus]\naccents = ["en-us"]\n{corpus}\n')
    assert run("settings", tmp_path / "set", WORDS=words, PARAMS=str(path)).exit_code == 0
    assert json.loads((tmp_path / "set" / "audio.json").read_text())["clip_ms"] == clip_ms


# --- what a bundle says of its words ---


def describe(folder: Path, **changes: object) -> Path:
    """As much of a bundle as the command reads."""
    section = {
        "audio": {},
        "features": {},
        "listen": {},
        "normaliser": {},
        "sha256": {"labels.txt": "", "golden/golden.json": "", "a": ""},
    }
    words = ["light", "night", "でんき"]
    described = {
        "format": FORMAT, **section, "labels": words, "thresholds": dict.fromkeys(words, 0.5), "files": {"a": {}},
        "pronunciations": {"light": {"en": "lˈaɪt"}, "night": {"en": "nˈaɪt"}, "でんき": {"en": "dˈe̞ŋki"}},
    }  # fmt: skip
    (folder / "commands.json").write_text(json.dumps(described | changes))
    return folder


def test_words_lists_each_with_its_threshold_and_what_is_close_to_it(tmp_path: Path) -> None:
    assert run("words", describe(tmp_path)).stdout == (
        "word    pronunciation  threshold  close to\n"
        "light   lˈaɪt          0.50       night (88 % the same)\n"
        "night   nˈaɪt          0.50       light (88 % the same)\n"
        "でんき  dˈe̞ŋki         0.50\n"
    )


def test_words_of_recordings_have_no_pronunciation(tmp_path: Path) -> None:
    assert "light   not known      0.50\n" in run("words", describe(tmp_path, pronunciations={})).stdout


@pytest.mark.parametrize(
    ("pronunciations", "fault"),
    [
        (7, "pronunciations must be a table for each word"),
        ({"light": "lˈaɪt"}, "pronunciations must be a table for each word"),
        ({"light": {}}, "pronunciations must be a table for each word"),
        ({"light": {"en": "l"}, "night": {"fr": "n"}}, "pronunciations must have the same accents for each word"),
        ({"light": {"en": "\x1b[2J"}}, "pronunciations must be texts that can be printed"),
        ({"light": {"en": 7}}, "pronunciations must be texts that can be printed"),
    ],
)
def test_pronunciations_that_are_none_are_refused(pronunciations: object, fault: str, tmp_path: Path) -> None:
    result = run("words", describe(tmp_path, pronunciations=pronunciations))
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path / 'commands.json'}: {fault}; make or copy the bundle again\n"
