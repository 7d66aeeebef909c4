"""A bundle's file, ready to score sound: what an app on a Raspberry Pi imports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from pipeline import config
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.device.mfcc import mfcc
from pipeline.errors import AudioError, BundleError, SettingsError

FORMAT = 1
DESCRIPTION = "commands.json"
DEFAULT_FILE = "commands_features_dynamic.tflite"
_TABLES = ("audio", "features", "normaliser", "files", "thresholds", "sha256")
_PARTS = {"labels": list, **dict.fromkeys(_TABLES, dict)}
_AGAIN = "make or copy the bundle again"

Coefficients = NDArray[np.float32]
Normaliser = tuple[Coefficients, Coefficients]


class Network:
    """One `.tflite` file that takes MFCC.

    Parameters
    ----------
    content
        The file's bytes.
    normaliser
        Mean and standard deviation, each `(n_mfcc,)`, for a file that takes MFCC already normalised; else None.

    Raises
    ------
    BundleError
        If TFLite can't read it; `name` says which file.
    """

    def __init__(self, content: bytes, name: str, normaliser: Normaliser | None = None) -> None:
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError):
            raise BundleError(f"{name}: not a whole TFLite file; {_AGAIN}") from None
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._normaliser = normaliser

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape of the input and of the output."""
        return tuple(map(int, self._input["shape"])), tuple(map(int, self._output["shape"]))

    def scores(self, coefficients: Coefficients) -> NDArray[np.float32]:
        """Scores `(labels,)` of one window's raw MFCC `(frames, n_mfcc)`; no call leaves a trace in the next."""
        if self._normaliser:
            mean, std = self._normaliser
            coefficients = (coefficients - mean) / std
        # The fused LSTM would go on from where the window before ended.
        self._interpreter.reset_all_variables()
        self._interpreter.set_tensor(self._input["index"], quantise(coefficients[None], self._input))
        self._interpreter.invoke()
        scores: NDArray[np.float32] = dequantise(self._interpreter.get_tensor(self._output["index"]), self._output)[0]
        return scores


def quantise(values: Coefficients, tensor: dict[str, Any]) -> NDArray[Any]:
    """Real numbers to what a tensor holds: divided by its scale, rounded to the nearest, clipped to its range."""
    kind = tensor["dtype"]
    if kind == np.float32:
        return values.astype(np.float32)
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(kind)
    return np.asarray(np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max), kind)


def dequantise(values: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    if tensor["dtype"] == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)


@dataclass(frozen=True)
class Result:
    label: str
    score: float
    scores: dict[str, float]


class Recognizer:
    """Says which word a window of sound holds. `Recognizer.load(folder)` makes one."""

    def __init__(self, network: Network, labels: Sequence[str], audio: config.Audio, features: config.Features) -> None:
        self._network = network
        self.labels = list(labels)
        self.audio = audio
        self.features = features

    @classmethod
    def load(cls, folder: str | Path, file: str = DEFAULT_FILE) -> Recognizer:
        """Open a bundle, its format and every hash checked.

        Raises
        ------
        BundleError
            If the folder is no bundle, of another format, or any file is missing or was changed.
        """
        folder = Path(folder)
        description = read_description(folder)
        check_hashes(folder, description)
        if file not in description["files"]:
            raise BundleError(f"{folder}: holds no {file}; it has: {', '.join(sorted(description['files']))}")
        try:
            network = open_network(folder, file, description)
            audio, features = (config.build_section(name, description[name]) for name in ("audio", "features"))
        except (KeyError, TypeError, ValueError, SettingsError) as error:
            raise BundleError(f"{folder / DESCRIPTION}: not as it was made ({error}); {_AGAIN}") from None
        expected = (1, features.frames(audio), features.n_mfcc), (1, len(description["labels"]))
        if network.shapes != expected:
            raise BundleError(
                f"{folder / file}: takes and gives {network.shapes}, not {expected} as described; {_AGAIN}"
            )
        return cls(network, description["labels"], audio, features)

    def classify(self, samples: Samples) -> Result:
        """Score one clip.

        Parameters
        ----------
        samples
            float32 `(n,)`, mono, in [-1, 1], at `self.audio.sample_rate_hz`. A clip shorter than the window is centred
            in silence; of a longer one the loudest part is scored.
        """
        if samples.ndim != 1 or not len(samples):
            raise AudioError(f"a clip must be a mono array of samples; its shape is {samples.shape}")
        audio.check(samples)
        window = audio.fit(samples, self.audio.clip_samples)
        scores = self._network.scores(mfcc(window, audio=self.audio, features=self.features))
        best = int(np.argmax(scores))
        named = dict(zip(self.labels, map(float, scores), strict=True))
        return Result(self.labels[best], float(scores[best]), named)


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
    if unhashed := sorted(description["files"].keys() - description["sha256"].keys()):
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
    """Open one file of a bundle, or of an export folder, as its description says."""
    mean, std = (np.array(description["normaliser"][key], np.float32) for key in ("mean", "std"))
    outside = description["files"][file]["normalised_outside"]
    return Network((folder / file).read_bytes(), str(folder / file), (mean, std) if outside else None)
