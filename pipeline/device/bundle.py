"""The folder that goes to a device: read, every file checked, and tried on its golden clips."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import config
from pipeline.device import audio, metadata
from pipeline.device.interpreter import MFCC, WAVEFORM, Array, Network
from pipeline.errors import COPY_AGAIN, BundleError, SettingsError

FORMAT = 2
DESCRIPTION = "commands.json"
EXPORTED = "description.json"  # the part of it that is known before thresholds are chosen
THRESHOLDS = "thresholds.json"  # these, on their own
LABELS = "labels.txt"
GOLDEN = "golden"
GOLDEN_SCORES = f"{GOLDEN}/golden.json"
_SECTIONS = ("audio", "features", "listen")
_TABLES = (*_SECTIONS, "normaliser", "files", "thresholds", "sha256")
# What comes of reading a part that is missing, of another type, or out of range.
_NONSENSE = (KeyError, TypeError, ValueError, OverflowError, RecursionError, SettingsError)
_PARTS = {"labels": list, **dict.fromkeys(_TABLES, dict)}


def read_description(folder: Path) -> dict[str, Any]:
    """What a bundle says of itself in `commands.json`.

    Raises
    ------
    BundleError
        If the folder is no bundle, or of another format, or a part of the description is missing or makes no sense.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{path}: no such file; run make, or give the folder of a bundle, such as build/synthetic/bundle"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not readable: {error}; {COPY_AGAIN}") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise BundleError(f"{path}: format {found}, and this version reads format {FORMAT}; make the bundle again")
    if wrong := [name for name, kind in _PARTS.items() if not isinstance(description.get(name), kind)]:
        raise BundleError(f"{path}: lacks {', '.join(wrong)}; {COPY_AGAIN}")
    named = {name: description[name] for name in ("labels", "thresholds", "files", "sha256")}
    if fault := _fault(**named) or _fault_of_pronunciations(description.get("pronunciations", {})):
        raise BundleError(f"{path}: {fault}; {COPY_AGAIN}")
    try:
        for name in _SECTIONS:
            config.build_section(name, description[name])
    except SettingsError as error:
        raise BundleError(f"{path}: {error}; {COPY_AGAIN}") from None
    return description


def _fault(labels: list[Any], thresholds: dict[str, Any], files: dict[str, Any], sha256: dict[str, str]) -> str:
    """What is wrong with the names in a description, if anything."""
    if not all(isinstance(label, str) and label.isprintable() for label in labels):
        return "labels must be texts that can be printed"
    if not 0 < len(labels) == len(set(labels)):
        return "labels must be each another"
    if not all(isinstance(threshold, int | float) for threshold in thresholds.values()):
        return "thresholds must be numbers"
    if not files:
        return "names no file to recognise with"
    if outside := [name for name in sha256 if Path(name).is_absolute() or ".." in Path(name).parts]:
        return f"names a file outside the bundle, {outside[0]}"
    if unhashed := sorted({*files, LABELS, GOLDEN_SCORES} - sha256.keys()):
        return f"has no sha256 of {', '.join(unhashed)}"
    return ""


def _fault_of_pronunciations(pronunciations: Any) -> str:
    """What is wrong with a table of words, accents and IPA; bundles of recordings, and older ones, have none."""
    tables: list[Any] = list(pronunciations.values()) if isinstance(pronunciations, dict) else [None]
    if not all(isinstance(table, dict) and table for table in tables):
        return "pronunciations must be a table for each word"
    if len({tuple(table) for table in tables}) > 1:
        return "pronunciations must have the same accents for each word"
    if not all(isinstance(text, str) and text.isprintable() for table in tables for text in table.values()):
        return "pronunciations must be texts that can be printed"
    return ""


def check_hashes(folder: Path, hashes: dict[str, str]) -> None:
    """Refuse a bundle of which any of these files isn't the one that was made."""
    for name, digest in hashes.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing; copy the whole bundle")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise BundleError(f"{path}: not the file that was made (its sha256 differs); {COPY_AGAIN}")


def open_network(folder: Path, file: str, description: dict[str, Any]) -> Network:
    """Open one file of a bundle, or of an export folder, and refuse it if it isn't what the description says.

    Raises
    ------
    BundleError
        If the file isn't whole; takes or gives arrays of other shapes; or takes sound, and its own metadata is missing
        or names another sample rate or other labels than the description.
    """
    content, path = (folder / file).read_bytes(), str(folder / file)
    try:
        takes, outside = (description["files"][file][key] for key in ("takes", "normalised_outside"))
        sound, features = (config.build_section(name, description[name]) for name in ("audio", "features"))
        shapes = {WAVEFORM: (1, sound.clip_samples), MFCC: (1, features.frames(sound), features.n_mfcc)}
        expected = shapes[takes], (1, len(description["labels"]))
        mean, std = (
            _array(description["normaliser"][key], (features.n_mfcc,), f"normaliser.{key}") for key in ("mean", "std")
        )
        normaliser = {True: (mean, std), False: None}[outside]
    except _NONSENSE as error:
        raise BundleError(f"{folder / DESCRIPTION}: not as it was made ({error}); {COPY_AGAIN}") from None
    network = Network(content, path, takes, normaliser)
    if network.shapes != expected:
        raise BundleError(f"{path}: takes and gives {network.shapes}, not {expected} as described; {COPY_AGAIN}")
    if takes == WAVEFORM:
        _check_metadata(metadata.read(content, path), path, sound.sample_rate_hz, description["labels"])
    return network


def _check_metadata(found: metadata.Metadata, path: str, sample_rate_hz: int, labels: list[str]) -> None:
    """An app that trusts the file's own metadata must not hear, or say, anything else than one that reads ours."""
    wanted: dict[str, Any] = {"sample_rate_hz": sample_rate_hz, "channels": 1, "labels": tuple(labels)}
    for name, value in wanted.items():
        if getattr(found, name) != value:
            raise BundleError(f"{path}: its metadata say {name} {getattr(found, name)}, not {value}; {COPY_AGAIN}")


def verify(folder: Path) -> dict[str, float]:
    """Check hashes, labels and metadata, and that every file gives its golden scores whatever was scored before.

    Returns
    -------
    differences
        For each file, the largest difference from its golden scores.

    Raises
    ------
    BundleError
        For the first thing that is wrong, by name.
    """
    description = read_description(folder)
    check_hashes(folder, description["sha256"])
    if (folder / LABELS).read_bytes() != "".join(f"{label}\n" for label in description["labels"]).encode():
        raise BundleError(f"{folder / LABELS}: other labels than in {DESCRIPTION}; {COPY_AGAIN}")
    golden, sounds = _read_golden(folder, description)
    differences = {}
    for file in description["files"]:
        network = open_network(folder, file, description)
        windows, expected, tolerance = _golden_of(file, network, golden, sounds, folder / GOLDEN_SCORES)
        found = _scores_in_any_order(network, windows, folder / file)
        differences[file] = float(np.abs(found - expected).max())
        if not differences[file] <= tolerance:  # true for NaN too
            off = f"scores {differences[file]:.2g} off the golden ones, and {tolerance:g} is allowed"
            raise BundleError(f"{folder / file}: {off}; this runtime computes otherwise")
    return differences


def _read_golden(folder: Path, description: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
    """What stands in `golden.json`, and the sound of its clips."""
    path = folder / GOLDEN_SCORES
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
        return golden, [_golden_sound(folder, clip["file"], description) for clip in golden["clips"]]
    except _NONSENSE as error:
        raise BundleError(f"{path}: not as it was made ({error}); {COPY_AGAIN}") from None


def _golden_of(
    file: str, network: Network, golden: dict[str, Any], sounds: list[Array], path: Path
) -> tuple[list[Array], Array, float]:
    """Windows as a file takes them, its scores `(clips, labels)`, and how far a runtime may be off."""
    (_, *window), (_, labels) = network.shapes
    try:
        clips, tolerance = golden["clips"], float(golden["tolerance"][file])
        if not 0 < tolerance < 1:
            raise ValueError(f"a tolerance of {tolerance}")
        given = sounds if network.takes == WAVEFORM else [clip["mfcc"] for clip in clips]
        windows = [_array(values, tuple(window), f"a clip for {file}") for values in given]
        scores = _array([clip["scores"][file] for clip in clips], (len(clips), labels), f"scores of {file}")
    except _NONSENSE as error:
        raise BundleError(f"{path}: not as it was made ({error}); {COPY_AGAIN}") from None
    return windows, scores, tolerance


def _golden_sound(folder: Path, name: str, description: dict[str, Any]) -> Array:
    if f"{GOLDEN}/{name}" not in description["sha256"]:
        raise ValueError(f"{name} is no file of the bundle")
    return audio.read(folder / GOLDEN / name, description["audio"]["sample_rate_hz"])


def _array(values: Any, shape: tuple[int, ...], what: str) -> Array:
    """Numbers as float32, refused if they are of another shape, or none, or not finite."""
    array = np.array(values, np.float32)
    if array.shape != shape or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{what} must be {shape} finite numbers")
    return array


def _scores_in_any_order(network: Network, windows: list[Array], path: Path) -> Array:
    forwards = np.stack([network.scores(window) for window in windows])
    backwards = np.stack([network.scores(window) for window in reversed(windows)])[::-1]
    if not np.array_equal(forwards, backwards):
        raise BundleError(f"{path}: the order of clips changes its scores; this runtime keeps the state of the LSTM")
    return forwards
