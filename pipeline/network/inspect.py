"""A look into the network while a word goes by: attention, gates and states, as numbers and as a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from pipeline import config, receipt
from pipeline.config import Audio, Features
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.device.bundle import LABELS
from pipeline.device.listing import printable
from pipeline.device.mfcc import mfcc
from pipeline.errors import StaleInput
from pipeline.network import lstm, model
from pipeline.network.engine import tf_keras
from pipeline.network.lstm import State, Weights

DIRECTIONS = ("forwards", "backwards")
# What a picture has of a State, from top to bottom, and what it calls it.
QUANTITIES = {
    "forget_gate": "forget gate", "input_gate": "input gate", "output_gate": "output gate",
    "cell": "cell state", "hidden": "hidden state",
}  # fmt: skip

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Look:
    """What went on in the network during one window."""

    start_ms: float  # of the window in the clip; below 0 where silence was put before it
    samples: Samples  # (clip_samples,)
    mfcc: Array  # (frames, n_mfcc), normalised: what the network sees
    frame_ms: Array  # (frames,), the middle of each
    step_ms: Array  # (steps,), the middle of what each step sees
    attention: Array  # (steps,), of sum 1
    layers: dict[str, dict[str, State]]  # of each LSTM layer each direction; arrays (steps, units), in order of time
    scores: Array  # (labels,)


@dataclass(frozen=True)
class Inspector:
    """A trained model with what is needed to feed it."""

    network: tf_keras.Model
    labels: list[str]
    audio: Audio
    features: Features

    @classmethod
    def load(cls, folder: Path) -> Inspector:
        """Open the folder of a training.

        Raises
        ------
        StaleInput
            If it is none but the build around it, of another version, or a file in it was changed.
        """
        if (folder / "train").is_dir():
            raise StaleInput(f"{folder}: a build; give the folder of its training, {folder / 'train'}")
        made = receipt.read(folder, "train")
        receipt.check_files(made, folder)
        sections = (config.build_section(name, made.settings[name]) for name in ("audio", "features"))
        labels = (folder / LABELS).read_text(encoding="utf-8").splitlines()
        return cls(model.load(folder / "model.keras"), labels, *sections)

    def look(self, samples: Samples) -> Look:
        """Hear one clip `(n,)`; a short one is centred in silence, of a long one the loudest window is taken."""
        window = audio.fit(samples, self.audio.clip_samples)
        coefficients = mfcc(window, audio=self.audio, features=self.features)
        recurrent = [layer for layer in self.network.layers if isinstance(layer, tf_keras.layers.Bidirectional)]
        wanted = {name: self.network.get_layer(name).output for name in (model.NORMALISED, "attention", "scores")}
        wanted |= {layer.name: layer.input for layer in recurrent}
        seen = tf_keras.Model(self.network.input, wanted)(coefficients[None], training=False)
        seen = {name: value.numpy()[0] for name, value in seen.items()}
        frame_ms, step_ms = self._times_ms(len(coefficients), len(seen["attention"]))
        layers = {layer.name: _directions(layer, seen[layer.name]) for layer in recurrent}
        start_ms = 1000 * audio.fit_start(samples, self.audio.clip_samples) / self.audio.sample_rate_hz
        return Look(
            start_ms, window, seen[model.NORMALISED], frame_ms, step_ms, seen["attention"][:, 0], layers, seen["scores"]
        )

    def _times_ms(self, frames: int, steps: int) -> tuple[Array, Array]:
        """The middle of each frame, and that of the frames that the first convolution sees at each step."""
        hop_ms = 1000 * self.features.hop_samples(self.audio) / self.audio.sample_rate_hz
        first_ms = 1000 * self.features.n_fft / 2 / self.audio.sample_rate_hz
        convolution = self.network.get_layer("conv_1")
        width, stride = convolution.kernel_size[0], convolution.strides[0]
        padded = max((steps - 1) * stride + width - frames, 0) // 2
        middles = np.arange(steps) * stride - padded + (width - 1) / 2
        return first_ms + hop_ms * np.arange(frames), first_ms + hop_ms * middles


def _directions(layer: Any, inputs: Array) -> dict[str, State]:
    """Every gate and state of a bidirectional layer, by the numpy LSTM: Keras' layer shows only what comes out."""
    parts = layer.forward_layer, layer.backward_layer
    return {
        name: lstm.run(inputs, Weights(*part.get_weights()), backwards=part.go_backwards)
        for name, part in zip(DIRECTIONS, parts, strict=True)
    }


def run(folder: Path, clips: Sequence[Path], picture: Path) -> list[tuple[str, float]]:
    """Look at clips, draw them side by side in `picture`, and write the numbers beside it, as `.json`.

    Returns
    -------
    best
        Of each clip the best label and its score.
    """
    inspector = Inspector.load(folder)
    looks = {str(path): inspector.look(audio.read(path, inspector.audio.sample_rate_hz)) for path in clips}
    drawn = io.BytesIO()
    draw(looks, inspector).savefig(drawn, format=picture.suffix[1:])
    rows = [{"file": name, **as_json(look, inspector)} for name, look in looks.items()]
    picture.write_bytes(drawn.getvalue())
    picture.with_suffix(".json").write_text(json.dumps(rows, ensure_ascii=False) + "\n", encoding="utf-8")
    return [_best(look, inspector) for look in looks.values()]


def _best(look: Look, inspector: Inspector) -> tuple[str, float]:
    return inspector.labels[int(np.argmax(look.scores))], float(np.max(look.scores))


def as_json(look: Look, inspector: Inspector) -> dict[str, Any]:
    """The same as plain lists, to five decimals."""
    return {
        "sample_rate_hz": inspector.audio.sample_rate_hz,
        "start_ms": round(look.start_ms, 5),
        "scores": dict(zip(inspector.labels, _plain(look.scores), strict=True)),
        "samples": _plain(look.samples),
        "frame_ms": _plain(look.frame_ms),
        "mfcc_normalised": _plain(look.mfcc),
        "step_ms": _plain(look.step_ms),
        "attention": _plain(look.attention),
        "layers": {
            layer: {name: {part: _plain(a) for part, a in state._asdict().items()} for name, state in both.items()}
            for layer, both in look.layers.items()
        },
    }


def _plain(array: Array) -> Any:
    return np.round(array.astype(np.float64), 5).tolist()


def draw(looks: dict[str, Look], inspector: Inspector) -> Figure:
    """Clips side by side, each with its two directions; a heat map has a row for each unit.

    Units are sorted by the time at which their hidden state is largest in the first clip, the same for every clip: what
    a unit does is then seen beside what those do that wake with it.
    """
    shown, clip_ms = list(looks.values()), inspector.audio.clip_ms
    rows = [(layer, quantity) for layer in shown[0].layers for quantity in QUANTITIES]
    heights = [1, 1.3, 0.7] + [1] * len(rows)
    figure = Figure(figsize=(1 + 6 * len(shown), sum(heights)), layout="constrained")
    loudest = max(float(np.abs(look.samples).max()) for look in shown) or 1.0  # one scale, to compare by
    most = max(float(look.attention.max()) for look in shown)
    grid = figure.add_gridspec(len(heights), 2 * len(shown), height_ratios=heights)
    for number, (name, look) in enumerate(looks.items()):
        columns = slice(2 * number, 2 * number + 2)
        wave, coefficients, attention = (figure.add_subplot(grid[row, columns], xlim=(0, clip_ms)) for row in range(3))
        label, score = _best(look, inspector)
        place = f", from {look.start_ms:.0f} ms on" if look.start_ms > 0 else ""
        wave.set_title(f"{printable(Path(name).name)}{place}: {label} {score:.2f}", parse_math=False)
        wave.set_ylim(-loudest, loudest)
        attention.set_ylim(0, 1.05 * most)
        wave.plot(np.linspace(0, clip_ms, len(look.samples)), look.samples, linewidth=0.5)
        _heatmap(coefficients, look.mfcc, look.frame_ms, (-3, 3))
        attention.bar(look.step_ms, look.attention, width=0.8 * (look.step_ms[1] - look.step_ms[0]))
        for axes, what in ((wave, "sound"), (coefficients, "MFCC"), (attention, "attention,\nshare")):
            axes.set_ylabel(what)
            axes.tick_params(labelbottom=axes is attention)
    for row, (layer, quantity) in enumerate(rows, 3):
        places = [grid[row, column] for column in range(2 * len(shown))]
        all_axes = _draw_row([figure.add_subplot(place) for place in places], shown, layer, quantity)
        for axes in all_axes:
            axes.tick_params(labelbottom=row == len(heights) - 1)
            axes.set_xlabel("time, ms" if row == len(heights) - 1 else "")
    return figure


def _draw_row(all_axes: list[Axes], looks: Sequence[Look], layer: str, quantity: str) -> list[Axes]:
    """One gate or state of a layer, for each clip and direction, all by one scale of colours."""
    shown = [
        (look, direction, getattr(look.layers[layer][direction], quantity))
        for look in looks
        for direction in DIRECTIONS
    ]
    limits = (0.0, 1.0)
    if quantity in ("cell", "hidden"):
        largest = float(np.quantile(np.abs([values for _, _, values in shown]), 0.99))  # a few cells go far beyond
        limits = (-largest, largest)
    for axes, (look, direction, values) in zip(all_axes, shown, strict=True):
        order = np.argsort(np.argmax(np.abs(looks[0].layers[layer][direction].hidden), axis=0), kind="stable")
        image = _heatmap(axes, values[:, order], look.step_ms, limits)
        if quantity == next(iter(QUANTITIES)):
            axes.set_title(f"{layer}, {direction}", fontsize="small")
    all_axes[0].set_ylabel(f"{QUANTITIES[quantity]},\nunits")
    all_axes[0].figure.colorbar(image, ax=all_axes, pad=0.01)
    return all_axes


def _heatmap(axes: Axes, values: Array, times_ms: Array, limits: tuple[float, float]) -> AxesImage:
    """Values `(times, rows)`; where `limits` lie on both sides of 0, 0 is white."""
    half_ms = (times_ms[1] - times_ms[0]) / 2
    extent = (times_ms[0] - half_ms, times_ms[-1] + half_ms, 0, values.shape[1])
    look: Any = {"aspect": "auto", "origin": "lower", "interpolation": "nearest", "extent": extent}
    return axes.imshow(values.T, cmap="RdBu_r" if limits[0] < 0 else "viridis", vmin=limits[0], vmax=limits[1], **look)
