"""Where the time of a window goes in the file for phones.

TFLite doesn't tell Python. So the file is cut behind each of its parts, the pieces take turns, and what a part takes is
what a window takes with it less what it takes without.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from benchmarks.speed import figures
from benchmarks.speed.figures import Figure, alternate
from benchmarks.speed.network import SETTINGS, WINDOWS, noise, our_network
from pipeline.network import waveform
from pipeline.network.engine import tf_keras

# The names of the file's operators begin with their scope.
FOURIER = f"{waveform.FRONTEND}/rfft2d"
WHOLE = "commands.tflite"
_TIMES_AS_OFTEN = 5  # a difference of two times is less sure than either


def measure(repeats: int) -> list[Figure]:
    figures.on_one_core()
    network = our_network()
    content = waveform.with_int8_weights(waveform.to_waveform(network, SETTINGS.audio, SETTINGS.features))
    windows = noise(WINDOWS, (SETTINGS.audio.clip_samples,))

    tasks = {part: partial(_run, _loaded(cut(content, end)), windows) for part, end in ends(content, network).items()}
    for task in tasks.values():
        task()
    seconds = alternate(_TIMES_AS_OFTEN * repeats, tasks, time.perf_counter)
    whole_s = list(seconds.values())[-1]
    parts = zip(seconds, np.diff([0.0, *seconds.values()]), strict=True)
    return [Figure(WHOLE, 1e3 * whole_s / WINDOWS, "ms a window", "", 1.0)] + [
        Figure(f"of it, {part}", 1e3 * took_s / WINDOWS, "ms a window", WHOLE, took_s / whole_s)
        for part, took_s in parts
    ]


def _loaded(content: bytes) -> Interpreter:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Interpreter, windows: NDArray[np.float32]) -> None:
    """Without a look at what it gives: of a piece that would be a large copy, which the whole file doesn't make."""
    sound = interpreter.get_input_details()[0]["index"]
    for window in windows:
        interpreter.set_tensor(sound, window[None])
        interpreter.invoke()


def ends(content: bytes, network: tf_keras.Model) -> dict[str, int]:
    """How many operators of the file each part takes with all before it; they are in the order of computing.

    What takes too little to be seen beside the noise counts to its neighbour.
    """
    graph = flatbuffer_utils.read_model_from_bytearray(content).subgraphs[0]
    outputs = [graph.tensors[operator.outputs[0]] for operator in graph.operators]
    names, shapes = [tensor.name.decode() for tensor in outputs], [tuple(tensor.shape) for tensor in outputs]

    fourier, end = names.index(FOURIER), sum(name.startswith(waveform.FRONTEND) for name in names)
    found = {
        "frames under the window": fourier,
        "Fourier transform": fourier + 1,
        "from its power to the log-mel spectrogram": end,
    }
    *lstms, _ = [layer.name for layer in network.layers if isinstance(layer, tf_keras.layers.Bidirectional)]
    parts = {f"bidirectional LSTM {number}": name for number, name in enumerate(lstms, 1)}
    for part, layer in {"convolutions and projection": "projection", **parts}.items():
        end = found[part] = shapes.index(network.get_layer(layer).output_shape[1:], end) + 1
    return {**found, "the last bidirectional LSTM, attention and scores": len(names)}


def cut(content: bytes, end: int) -> bytes:
    """The file with its first operators alone; it gives what the last of them gives."""
    model = flatbuffer_utils.read_model_from_bytearray(content)
    graph, model.signatureDefs = model.subgraphs[0], None
    graph.operators = graph.operators[:end]
    graph.outputs = graph.operators[-1].outputs
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


if __name__ == "__main__":
    figures.answer(measure)
