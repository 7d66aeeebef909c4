"""One page that a person opens at the end. It only renders: every number on it stands in `metrics.json`."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile
from markupsafe import Markup

from pipeline import receipt
from pipeline.config import Settings
from pipeline.corpora import manifest
from pipeline.device.bundle import read_description
from pipeline.device.mfcc import log_mel
from pipeline.network import history
from pipeline.network.history import Epoch
from pipeline.pages import html, plots

PAGE = "index.html"


def run(settings: Settings, corpus: Path, evaluate: Path, bundle: Path, out: Path) -> str:
    """Write the page, self-contained: it asks no other host for anything."""
    inputs = receipt.require(settings, corpus=corpus, evaluate=evaluate, bundle=bundle)
    with receipt.making(out, "report", settings, inputs) as work:
        metrics = json.loads((evaluate / "metrics.json").read_text(encoding="utf-8"))
        content = html.render(
            "report.html.j2",
            metrics=metrics,
            description=read_description(bundle),
            phone=metrics["streams"]["file"],
            voices=settings.report.voices,
            worst=list(_worst(metrics["worst_clips"], corpus, settings)),
            curves=plots.curves(metrics["history"], _kept_epoch(metrics["history"], settings)),
            tradeoffs=plots.tradeoffs(metrics["streams"]),
            reliability=plots.reliability,
        )
        (work / PAGE).write_text(content, encoding="utf-8")
    return str(out / PAGE)


def _kept_epoch(epochs: list[Epoch], settings: Settings) -> int:
    """The best by validation loss; a network that is trained on with takes is kept as the last one leaves it."""
    return len(epochs) - 1 if settings.personalise.bundle else history.best_epoch(epochs)


def _worst(found: list[dict[str, Any]], corpus: Path, settings: Settings) -> Iterator[dict[str, Any]]:
    """The wrong clips that the file for phones is surest of, with their picture and their sound."""
    clips = {clip.sha256: clip for clip in manifest.read(corpus)}
    for wrong in found:
        samples = manifest.window(corpus, clips[wrong["sha256"]], settings.audio)
        decibels = log_mel(samples, audio=settings.audio, features=settings.features)
        picture = plots.spectrogram(decibels, f"“{wrong['word']}”, taken for “{wrong['found']}”")
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, settings.audio.sample_rate_hz, format="WAV", subtype="PCM_16")
        sound = Markup("data:audio/wav;base64,{}").format(base64.b64encode(buffer.getvalue()).decode())
        yield wrong | {"picture": picture, "sound": sound}
