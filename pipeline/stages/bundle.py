"""What a device gets: assembled, hashed, verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2

import pipeline
from pipeline import receipt
from pipeline.config import Settings
from pipeline.device.bundle import DESCRIPTION, EXPORTED, FORMAT, THRESHOLDS, verify

CARD = "MODEL_CARD.md"
_PATHS = {("corpus", "source"), ("streams", "negative"), ("personalise", "bundle"), ("personalise", "source")}


def run(settings: Settings, export: Path, tune: Path, evaluate: Path, out: Path) -> str:
    """Put files, description, thresholds and model card together, and try the result as a device would."""
    inputs = from_export, _, from_evaluate = receipt.require(settings, export=export, tune=tune, evaluate=evaluate)
    with receipt.making(out, "bundle", settings, inputs) as work:
        made = [name for name in from_export.files if name != EXPORTED]
        for name in made:
            (work / name).parent.mkdir(exist_ok=True)
            shutil.copy(export / name, work / name)
        exported, thresholds, metrics = map(
            _read_json, (export / EXPORTED, tune / THRESHOLDS, evaluate / "metrics.json")
        )
        (work / CARD).write_text(_card(from_evaluate.settings, exported, metrics), encoding="utf-8")
        description = {
            "format": FORMAT,
            "version": pipeline.__version__,
            **exported,
            "listen": from_evaluate.settings["listen"],
            "thresholds": thresholds,
            "sha256": {name: receipt.sha256(work / name) for name in [*made, CARD]},
            "settings": _without_paths(from_evaluate.settings),
        }
        (work / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
        verify(work)
    return f"{len(made) + 2} files in {out}"


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _card(settings: dict[str, dict[str, Any]], exported: dict[str, Any], metrics: dict[str, Any]) -> str:
    """What a reader must know before using the model, after Mitchell et al. 2019, arXiv:1810.03993."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.stages", "."),
        autoescape=True,  # words are a stranger's, and Markdown lets HTML through
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    pages.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("_", "\\_")
    return pages.get_template("model_card.md.j2").render(
        settings=settings, exported=exported, metrics=metrics, version=pipeline.__version__
    )


def _without_paths(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings as they may be published: where the recordings lie is the maker's own business."""
    return {
        name: {key: value for key, value in section.items() if (name, key) not in _PATHS}
        for name, section in settings.items()
    }
