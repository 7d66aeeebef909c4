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
from pipeline.errors import BundleError, SettingsError

FORMAT = 2
DESCRIPTION = "commands.json"
LABELS = "labels.txt"
GOLDEN = "golden"
GOLDEN_SCORES = f"{GOLDEN}/golden.json"
_TABLES = ("audio", "features", "normaliser", "files", "thresholds", "sha256")
_PARTS = {"labels": list, **dict.fromkeys(_TABLES, dict)}
_AGAIN = "make or copy the bundle again"


def read_description(folder: Path) -> dict[str, Any]:
    """What a bundle says of itself in `commands.json`."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{path}: no such file; give the folder of a bundle, such as build/synthetic/bundle"
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not readable: {error}; {_AGAIN}") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise BundleError(f"{path}: format {found}, and this version reads format {FORMAT}; make the bundle again")
    if wrong := [name for name, kind in _PARTS.items() if not isinstance(description.get(name), kind)]:
        raise BundleError(f"{path}: lacks {', '.join(wrong)}; {_AGAIN}")
    if unhashed := sorted({*description["files"], LABELS, GOLDEN_SCORES} - description["sha256"].keys()):
        raise BundleError(f"{path}: has no sha256 of {', '.join(unhashed)}; {_AGAIN}")
    return description


def check_hashes(folder: Path, description: dict[str, Any]) -> None:
    """Refuse a bundle of which any file isn't the one that was made."""
    for name, digest in description["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing; copy the whole bundle")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise BundleError(f"{path}: not the file that was made (its sha256 differs); {_AGAIN}")


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
        takes, outside = (description["files"][file][key] for key in ("input", "normalised_outside"))
        sound, features = (config.build_section(name, description[name]) for name in ("audio", "features"))
        mean, std = (np.array(description["normaliser"][key], np.float32) for key in ("mean", "std"))
        shapes = {WAVEFORM: (1, sound.clip_samples), MFCC: (1, features.frames(sound), features.n_mfcc)}
        expected = shapes[takes], (1, len(description["labels"]))
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise BundleError(f"{folder / DESCRIPTION}: not as it was made ({error}); {_AGAIN}") from None
    network = Network(content, path, takes, (mean, std) if outside else None)
    if network.shapes != expected:
        raise BundleError(f"{path}: takes and gives {network.shapes}, not {expected} as described; {_AGAIN}")
    if takes == WAVEFORM:
        _check_metadata(metadata.read(content, path), path, sound.sample_rate_hz, description["labels"])
    return network


def _check_metadata(found: metadata.Metadata, path: str, sample_rate_hz: int, labels: list[str]) -> None:
    """An app that trusts the file's own metadata must not hear, or say, anything else than one that reads ours."""
    wanted: dict[str, Any] = {"sample_rate_hz": sample_rate_hz, "channels": 1, "labels": tuple(labels)}
    for name, value in wanted.items():
        if getattr(found, name) != value:
            raise BundleError(f"{path}: its metadata say {name} {getattr(found, name)}, not {value}; {_AGAIN}")


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
    check_hashes(folder, description)
    if (folder / LABELS).read_text(encoding="utf-8").splitlines() != description["labels"]:
        raise BundleError(f"{folder / LABELS}: other labels than in {DESCRIPTION}; {_AGAIN}")
    networks = {file: open_network(folder, file, description) for file in description["files"]}
    inputs, expected, tolerance = _read_golden(folder, description)
    differences = {}
    for file, network in networks.items():
        found = _scores_in_any_order(network, inputs[network.takes], folder / file)
        differences[file] = float(np.abs(found - expected[file]).max())
        if not differences[file] <= tolerance[file]:  # true for NaN too
            off = f"scores {differences[file]:.2g} off the golden ones, and {tolerance[file]:g} is allowed"
            raise BundleError(f"{folder / file}: {off}; this runtime computes otherwise")
    return differences


def _read_golden(
    folder: Path, description: dict[str, Any]
) -> tuple[dict[str, list[Array]], dict[str, Array], dict[str, float]]:
    """Windows by what a file takes, scores `(clips, labels)` and tolerance of each file."""
    path = folder / GOLDEN_SCORES
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
        clips, rate_hz = golden["clips"], description["audio"]["sample_rate_hz"]
        inputs = {
            WAVEFORM: [audio.read(folder / GOLDEN / clip["file"], rate_hz) for clip in clips],
            MFCC: [np.array(clip["mfcc"], np.float32) for clip in clips],
        }
        expected = {file: np.array([clip["scores"][file] for clip in clips]) for file in description["files"]}
        return inputs, expected, {file: float(golden["tolerance"][file]) for file in expected}
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: not as it was made ({error}); {_AGAIN}") from None


def _scores_in_any_order(network: Network, windows: list[Array], path: Path) -> Array:
    forwards = np.stack([network.scores(window) for window in windows])
    backwards = np.stack([network.scores(window) for window in reversed(windows)])[::-1]
    if not np.array_equal(forwards, backwards):
        raise BundleError(f"{path}: the order of clips changes its scores; this runtime keeps the state of the LSTM")
    return forwards
