"""What a device gets: assembled, hashed, verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import pipeline
from pipeline import receipt
from pipeline.config import Settings
from pipeline.device.recognizer import DESCRIPTION, FORMAT, check_hashes, open_network, read_description
from pipeline.errors import BundleError

# A file on the same machine must say the same again.
_GOLDEN_TOLERANCE = 1e-5


def run(settings: Settings, export: Path, tune: Path, out: Path) -> str:
    """Put files, description, thresholds and golden clips together, and open the result as an app would."""
    inputs = from_export, from_tune = receipt.require(settings, export=export, tune=tune)
    with receipt.making(out, "bundle", settings, inputs) as work:
        made = [name for name in from_export.files if name != "description.json"]
        for name in made:
            (work / name).parent.mkdir(exist_ok=True)
            shutil.copy(export / name, work / name)
        description = {
            "format": FORMAT,
            "version": pipeline.__version__,
            **json.loads((export / "description.json").read_text(encoding="utf-8")),
            "thresholds": json.loads((tune / "thresholds.json").read_text(encoding="utf-8")),
            "sha256": {name: receipt.sha256(work / name) for name in made},
            "settings": _without_source(from_tune.settings),
        }
        (work / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
        verify(work)
    return f"{len(made) + 1} files in {out}"


def _without_source(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings as they may be published: where the recordings lie is the maker's own business."""
    return settings | {"corpus": {key: value for key, value in settings["corpus"].items() if key != "source"}}


def verify(folder: Path) -> None:
    """Check hashes, and that every file gives its golden scores, in any order of calls."""
    description = read_description(folder)
    check_hashes(folder, description)
    golden = json.loads((folder / "golden" / "golden.json").read_text(encoding="utf-8"))["clips"]
    for name in description["files"]:
        network = open_network(folder, name, description)
        for clip in reversed(golden):
            difference = np.abs(network.scores(np.array(clip["mfcc"], np.float32)) - clip["scores"][name]).max()
            if not difference <= _GOLDEN_TOLERANCE:  # true for NaN too
                raise BundleError(f"{folder / name}: {clip['file']} scores {difference:.2g} off its golden scores")
