"""One `.tflite` file, ready to score windows of sound."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from pipeline.errors import COPY_AGAIN, BundleError

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
        except (ValueError, RuntimeError) as error:
            raise _refusal(name, error) from None
        self._name = name
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
        if self.takes == MFCC:
            # These hold the fused LSTM, which would go on from where the window before ended. A file that takes sound
            # must do without: not every runtime can reset.
            self._interpreter.reset_all_variables()
        self._interpreter.set_tensor(self._input["index"], quantise(window[None], self._input))
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise _refusal(self._name, error) from None
        scores: Array = dequantise(self._interpreter.get_tensor(self._output["index"]), self._output)[0]
        return scores


def _refusal(name: str, error: Exception) -> BundleError:
    reason = str(error).strip().splitlines()[0]
    return BundleError(f"{name}: TFLite can't read it ({reason}); {COPY_AGAIN}, or update ai-edge-litert")


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
