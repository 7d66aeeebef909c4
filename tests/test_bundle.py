"""The folder that goes to a device: what is wrong with it is said by name, by `verify` and by whoever opens it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FILES, TINY

from pipeline import receipt
from pipeline.config import load
from pipeline.device import Recognizer, audio, metadata
from pipeline.device.bundle import verify
from pipeline.errors import BundleError
from pipeline.stages.bundle import _card as make_card

PHONE = "commands.tflite"
SETTINGS = load(TINY)
OPENERS: list[Callable[[Path], Any]] = [verify, Recognizer.load]


@pytest.fixture
def bundle(tiny_build: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_build / "bundle", tmp_path / "bundle"))


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def describe(bundle: Path, **changes: object) -> None:
    path = bundle / "commands.json"
    path.write_text(json.dumps(read_json(path) | changes))


def put(bundle: Path, name: str, content: bytes) -> None:
    """Another file with a hash that fits, as of someone who made the bundle otherwise."""
    (bundle / name).write_bytes(content)
    hashes = read_json(bundle / "commands.json")["sha256"]
    describe(bundle, sha256=hashes | {name: hashlib.sha256(content).hexdigest()})


def repack(bundle: Path, **changes: Any) -> None:
    content = (bundle / PHONE).read_bytes()
    put(bundle, PHONE, metadata.pack(content, dataclasses.replace(metadata.read(content, PHONE), **changes)))


# --- a whole one ---


def test_a_whole_bundle_is_verified_file_by_file(tiny_build: Path) -> None:
    differences = verify(tiny_build / "bundle")
    assert list(differences) == FILES
    assert max(differences.values()) <= 1e-5  # the machine that made it


def test_everything_in_the_bundle_has_its_hash(tiny_build: Path) -> None:
    bundle = tiny_build / "bundle"
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert files - read_json(bundle / "commands.json")["sha256"].keys() == {"commands.json", "receipt.json"}


@pytest.mark.parametrize("file", ["commands.tflite", "commands_float.tflite"])
def test_the_phone_files_say_what_they_are(file: str, tiny_build: Path) -> None:
    found = metadata.read((tiny_build / "bundle" / file).read_bytes(), file)
    assert (found.sample_rate_hz, found.channels) == (16_000, 1)
    assert found.labels == ("_silence_", "_unknown_", "yes", "no")
    assert "eSpeak NG" in found.license
    assert found.version == read_json(tiny_build / "bundle" / "commands.json")["version"]


def test_nothing_in_the_bundle_says_where_the_recordings_lay(tiny_build: Path, tmp_path: Path) -> None:
    """The receipts of the stages before hold that path; the bundle is given away."""
    settings = dataclasses.replace(SETTINGS, corpus=dataclasses.replace(SETTINGS.corpus, keywords=("private",)))
    receipts = [receipt.require(SETTINGS, **{name: tiny_build / name})[0] for name in ("export", "tune", "evaluate")]
    with receipt.making(tmp_path / "bundle", "bundle", settings, receipts):
        pass
    told = read_json(tmp_path / "bundle" / "receipt.json")
    assert told["settings"] == {}
    assert told["inputs"] == read_json(tiny_build / "bundle" / "receipt.json")["inputs"]
    published = read_json(tiny_build / "bundle" / "commands.json")["settings"]
    assert "source" not in published["corpus"]
    assert "negative" not in published["streams"]


def test_the_card_has_the_figures_and_names_synthetic_speech_as_such(tiny_build: Path) -> None:
    card = (tiny_build / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    metrics = read_json(tiny_build / "evaluate" / "metrics.json")
    for name, figure in metrics["splits"]["testing"]["models"].items():
        low, high = figure["accuracy_interval"]
        assert f"| `{name}` | {figure['accuracy']:.2%}".replace("%", " %") in card
        assert f"{100 * low:.1f} % to {100 * high:.1f} %" in card
    for name, figure in metrics["streams"]["at_thresholds"].items():
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {figure['false_alarms_per_hour']:.1f} (" in row
        assert not figure["words"] or f"| {100 * figure['missed']:.1f} % (" in row
    for group, figure in metrics["without_keywords"][PHONE].items():
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {group} |"))
        assert f"| {figure['clips']} | {100 * figure['recall']:.1f} % (" in row
        assert f"| {100 * figure['taken_for_keyword']:.1f} % (" in row
    for fact in (
        "10 clips, testing split: synthetic speech",
        "No person was recorded",
        "GPL-3",
        "by voice",
        "train 3",
        *FILES,
    ):
        assert fact in card
    talk = read_json(tiny_build / "tune" / "validation.json")["talk"]
    assert "with at most\n  100 false alarms an hour, all words together, where none is said" in card
    assert f"\n  {talk['false']} in {talk['hours']:.2f} h of talk.\n" in card
    assert [line for line in card.splitlines() if line.startswith("|") and line.count("|") not in (4, 5, 7, 10)] == []


def test_the_card_of_a_recogniser_made_to_measure_says_so(tiny_build: Path) -> None:
    exported = read_json(tiny_build / "export" / "description.json")
    metrics = read_json(tiny_build / "evaluate" / "metrics.json")
    settings = receipt.read(tiny_build / "evaluate", "evaluate").settings
    assert "not for use" not in make_card(settings, exported, metrics)
    settings["corpus"]["held_out_words"] = ["dog", "tree"]
    assert "not for use**: training left out dog, tree," in make_card(settings, exported, metrics)


def test_the_card_says_that_synthetic_voices_spoke_beside_people(tiny_build: Path) -> None:
    exported = read_json(tiny_build / "export" / "description.json")
    metrics = read_json(tiny_build / "evaluate" / "metrics.json")
    settings = receipt.read(tiny_build / "evaluate", "evaluate").settings
    assert "Learnt besides" not in make_card(settings, exported, metrics)
    settings["corpus"]["synthetic_clips"] = 4_000
    assert "\n- Learnt besides: 4,000 clips by synthetic voices, half of" in make_card(settings, exported, metrics)


# --- one that isn't ---


@pytest.mark.parametrize("opened", OPENERS)
def test_a_description_that_lacks_a_part_is_refused(opened: Callable[[Path], Any], bundle: Path) -> None:
    path = bundle / "commands.json"
    path.write_text(json.dumps({k: v for k, v in read_json(path).items() if k != "normaliser"}))
    with pytest.raises(BundleError, match=r"commands\.json: lacks normaliser"):
        opened(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"audio": {"sample_rate_hz": "many"}},
        {"features": {"n_mfcc": 3.5}},
        {"normaliser": {"mean": "none"}},
        {"files": {PHONE: {}}},
        {"files": {PHONE: {"takes": "light", "normalised_outside": False}}},
        {"files": {PHONE: {"takes": "waveform", "normalised_outside": "no"}}},
        {"normaliser": {"mean": [0.0] * 3, "std": [1.0] * 3}},
        {"normaliser": {"mean": [10**400] * 40, "std": [1.0] * 40}},
    ],
)
@pytest.mark.parametrize("opened", OPENERS)
def test_a_description_with_nonsense_in_it_is_refused(
    opened: Callable[[Path], Any], changes: dict[str, Any], bundle: Path
) -> None:
    describe(bundle, **changes)
    with pytest.raises(BundleError, match=r"commands\.json: (not as it was made|audio|features)"):
        opened(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": []}, "labels must be each another"),
        ({"labels": ["_silence_", "_unknown_", "yes", "no\n"]}, "labels must be texts that can be printed"),
        ({"labels": [0, 1, 2, 3]}, "labels must be texts"),
        ({"labels": ["_silence_", "_unknown_", "yes", "yes"]}, "labels must be each another"),
        ({"files": {}}, "names no file"),
        ({"files": {"/bin/sh": {}}}, "has no sha256 of /bin/sh"),
        ({"sha256": {"/etc/passwd": ""}}, "names a file outside the bundle, /etc/passwd"),
        ({"sha256": {"golden/../../x": ""}}, "names a file outside the bundle, golden"),
        ({"sha256": {}}, "has no sha256 of commands"),
        ({"thresholds": None}, "lacks thresholds"),
        ({"thresholds": {"yes": "high"}}, "thresholds must be numbers"),
        ({"listen": {"hop_ms": 0}}, "listen.hop_ms is 0"),
        ({"listen": {"smoothing_ms": 250}}, "listen.smoothing_ms / hop_ms"),
    ],
)
@pytest.mark.parametrize("opened", OPENERS)
def test_names_that_make_no_sense_are_refused(
    opened: Callable[[Path], Any], changes: dict[str, Any], message: str, bundle: Path
) -> None:
    describe(bundle, **changes)
    with pytest.raises(BundleError, match=rf"commands\.json: {message}"):
        opened(bundle)


@pytest.mark.parametrize("opened", OPENERS)
def test_another_format_is_refused(opened: Callable[[Path], Any], bundle: Path) -> None:
    describe(bundle, format=1)
    with pytest.raises(BundleError, match=r"commands\.json: format 1, and this version reads format 2"):
        opened(bundle)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_a_broken_description_is_refused(text: str, bundle: Path) -> None:
    (bundle / "commands.json").write_text(text)
    with pytest.raises(BundleError, match=r"commands\.json: "):
        verify(bundle)


def load_it(bundle: Path, name: str) -> object:
    return Recognizer.load(bundle, name)


CASES = [(load_it, file) for file in FILES]
CASES += [
    (lambda bundle, _: verify(bundle), name)
    for name in (*FILES, "labels.txt", "golden/golden.json", "golden/00.wav", "MODEL_CARD.md")
]


@pytest.mark.parametrize(("opened", "name"), CASES)
def test_an_edited_or_missing_file_is_named(opened: Callable[[Path, str], Any], name: str, bundle: Path) -> None:
    path = bundle / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError, match=f"{name}: not the file that was made"):
        opened(bundle, name)
    path.unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        opened(bundle, name)


@pytest.mark.parametrize("file", FILES)
def test_a_device_needs_one_file_and_its_description(file: str, tiny_build: Path, tmp_path: Path) -> None:
    for name in (file, "commands.json"):
        shutil.copy(tiny_build / "bundle" / name, tmp_path)
    samples = audio.read(tiny_build / "bundle" / "golden" / "02.wav", 16_000)
    expected = Recognizer.load(tiny_build / "bundle", file).classify(samples)
    assert Recognizer.load(tmp_path, file).classify(samples) == expected


@pytest.mark.parametrize("share", [0, 1e-5, 0.001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("opened", OPENERS)
def test_a_truncated_file_is_refused_even_with_a_matching_hash(
    opened: Callable[[Path], Any], share: float, bundle: Path
) -> None:
    content = (bundle / PHONE).read_bytes()
    put(bundle, PHONE, content[: int(share * len(content))])
    with pytest.raises(BundleError, match=f"{PHONE}: (TFLite can't read it|not a whole TFLite file)"):
        opened(bundle)


@pytest.mark.parametrize("opened", OPENERS)
def test_a_file_without_metadata_is_refused(opened: Callable[[Path], Any], bundle: Path) -> None:
    content = (bundle / PHONE).read_bytes()
    assert content.count(b"TFLITE_METADATA") == 1
    put(bundle, PHONE, content.replace(b"TFLITE_METADATA", b"SOMETHING__ELSE"))
    with pytest.raises(BundleError, match=f"{PHONE}: holds no metadata"):
        opened(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("_silence_", "_unknown_", "no", "yes")}, "metadata say labels .*'no', 'yes'., not .*'yes', 'no'."),
        ({"labels": ("_silence_", "_unknown_", "yes")}, "metadata say labels"),
        ({"sample_rate_hz": 8_000}, "metadata say sample_rate_hz 8000, not 16000"),
        ({"channels": 2}, "metadata say channels 2, not 1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("opened", OPENERS)
def test_a_file_whose_metadata_say_otherwise_is_refused(
    opened: Callable[[Path], Any], changes: dict[str, Any], message: str, bundle: Path
) -> None:
    repack(bundle, **changes)
    with pytest.raises(BundleError, match=f"{PHONE}: its {message}"):
        opened(bundle)


@pytest.mark.parametrize("opened", OPENERS)
def test_a_file_of_another_kind_under_its_name_is_refused(opened: Callable[[Path], Any], bundle: Path) -> None:
    put(bundle, PHONE, (bundle / "commands_features_float.tflite").read_bytes())
    with pytest.raises(BundleError, match=f"{PHONE}: takes and gives .*49, 40.*, not .*16000.* as described"):
        opened(bundle)


def test_other_labels_beside_the_files_are_refused(bundle: Path) -> None:
    put(bundle, "labels.txt", b"_silence_\n_unknown_\nno\nyes\n")
    with pytest.raises(BundleError, match=r"labels\.txt: other labels than in commands\.json"):
        verify(bundle)


@pytest.mark.parametrize("file", FILES)
def test_other_scores_than_the_golden_ones_are_refused(file: str, bundle: Path) -> None:
    golden = read_json(bundle / "golden" / "golden.json")
    golden["clips"][1]["scores"][file][0] += 0.03
    put(bundle, "golden/golden.json", json.dumps(golden).encode())
    with pytest.raises(BundleError, match=rf"{file}: scores 0\.03 off the golden ones"):
        verify(bundle)


@pytest.mark.parametrize("text", ["{}", "[]", '{"clips": [], "tolerance": {}}', "{", "[" * 100_000])
def test_golden_scores_that_are_none_are_refused(text: str, bundle: Path) -> None:
    put(bundle, "golden/golden.json", text.encode())
    with pytest.raises(BundleError, match=r"golden\.json: not as it was made"):
        verify(bundle)


def spoilt(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change the first of the golden clips."""
    return lambda golden: golden["clips"][0].update(changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda golden: golden["clips"].clear(),
        lambda golden: golden["tolerance"].update({PHONE: math.inf}),
        lambda golden: golden["tolerance"].update({PHONE: math.nan}),
        lambda golden: golden["tolerance"].update({PHONE: "1"}),
        lambda golden: golden["tolerance"].update({PHONE: 10**400}),
        spoilt(mfcc=[[0.0] * 40]),
        spoilt(mfcc=[[10**400] * 40] * 49),
        spoilt(scores={file: [0.1] for file in FILES}),
        spoilt(scores={file: [math.nan] * 4 for file in FILES}),
        spoilt(scores={file: ["much"] * 4 for file in FILES}),
        spoilt(scores=None),
        spoilt(file="../labels.txt"),
        spoilt(file="/etc/passwd"),
        spoilt(file="nothing.wav"),
    ],
)
def test_golden_scores_that_make_no_sense_are_refused(spoil: Callable[[dict[str, Any]], None], bundle: Path) -> None:
    golden = read_json(bundle / "golden" / "golden.json")
    spoil(golden)
    put(bundle, "golden/golden.json", json.dumps(golden).encode())
    with pytest.raises(BundleError, match=r"golden\.json: not as it was made"):
        verify(bundle)


def test_a_golden_clip_of_another_length_is_refused(bundle: Path) -> None:
    path = bundle / "golden" / "00.wav"
    audio.write(path, np.zeros(8_000, np.float32), 16_000)
    put(bundle, "golden/00.wav", path.read_bytes())
    with pytest.raises(BundleError, match=r"golden\.json: not as it was made \(a clip for commands\.tflite must be"):
        verify(bundle)


def test_a_runtime_that_does_not_reset_is_found_out(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter.reset_all_variables", lambda self: None)
    with pytest.raises(BundleError, match=r"commands_features_float\.tflite: the order of clips changes its scores"):
        verify(bundle)


def test_scores_are_those_of_the_golden_sound_not_only_of_its_mfcc(bundle: Path) -> None:
    (first, second) = sorted((bundle / "golden").glob("*.wav"))[:2]
    assert not np.array_equal(first.read_bytes(), second.read_bytes())
    put(bundle, "golden/00.wav", second.read_bytes())
    with pytest.raises(BundleError, match=f"{PHONE}: scores .* off the golden ones"):
        verify(bundle)
