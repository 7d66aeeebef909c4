"""One `.tflite` file, ready to score windows of sound."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from pipeline.errors import BundleError

# What a file takes of a window: its samples, or the MFCC of them.
WAVEFORM, MFCC = "waveform", "mfcc"

Array = NDArray[np.float32]
Normaliser = tuple[Array, Array]


class Network:
    """A file in TFLite's interpreter, on one thread.

    Parameters
    ----------
    content
        The file's bytes.
    name
        What errors call the file.
    takes
        `WAVEFORM` or `MFCC`.
    normaliser
        Mean and standard deviation, each `(n_mfcc,)`, for a file that takes MFCC already normalised; else None.

    Raises
    ------
    BundleError
        If TFLite can't read the file.
    """

    def __init__(self, content: bytes, name: str, takes: str = MFCC, normaliser: Normaliser | None = None) -> None:
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError):
            raise BundleError(f"{name}: not a whole TFLite file; make or copy the bundle again") from None
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._normaliser = normaliser
        self.takes = takes

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape of the input and of the output."""
        return tuple(map(int, self._input["shape"])), tuple(map(int, self._output["shape"]))

    def scores(self, window: Array) -> Array:
        """Scores `(labels,)` of one window; no call leaves a trace in the next.

        Parameters
        ----------
        window
            float32, samples `(clip_samples,)` or raw MFCC `(frames, n_mfcc)`, as the file takes.
        """
        if self._normaliser:
            mean, std = self._normaliser
            window = (window - mean) / std
        # A fused LSTM would go on from where the window before ended.
        self._interpreter.reset_all_variables()
        self._interpreter.set_tensor(self._input["index"], quantise(window[None], self._input))
        self._interpreter.invoke()
        scores: Array = dequantise(self._interpreter.get_tensor(self._output["index"]), self._output)[0]
        return scores


def quantise(values: Array, tensor: dict[str, Any]) -> NDArray[Any]:
    """Real numbers to what a tensor holds: divided by its scale, rounded to the nearest, clipped to its range."""
    kind = tensor["dtype"]
    if kind == np.float32:
        return values.astype(np.float32, copy=False)
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(kind)
    return np.asarray(np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max), kind)


def dequantise(values: NDArray[Any], tensor: dict[str, Any]) -> Array:
    if tensor["dtype"] == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)
