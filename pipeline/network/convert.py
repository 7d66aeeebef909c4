"""Keras to TFLite with the fused LSTM operator: small and quick; its state is to be reset before each window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.network.engine import flatbuffer_utils, tf, tf_keras
from pipeline.network.model import LOG_MEL


def to_float(model: tf_keras.Model) -> bytes:
    """Float weights, MFCC in: the reference for the quantised files."""
    return _without_cell_clip(_converter(model).convert())


def to_dynamic_range(model: tf_keras.Model) -> bytes:
    """int8 weights, float in and out; activations are quantised as they come, but for the log-mel spectrogram's."""
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _with_float_log_mel(_without_cell_clip(converter.convert()), model)


def to_int8(model: tf_keras.Model, calibration: NDArray) -> bytes:
    """Integers throughout, int8 in and out, scales from the calibration clips `(clips, frames, n_mfcc)`."""

    def representative() -> Iterator[list[NDArray]]:
        for clip in calibration:
            yield [clip[None]]

    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return _without_cell_clip(converter.convert())


def _converter(model: tf_keras.Model) -> tf.lite.TFLiteConverter:
    """From a function of one clip: with a batch of 1 the converter finds the fused LSTM."""
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="mfcc")]
    function = tf.function(lambda clip: model(clip, training=False), autograph=False, input_signature=signature)
    holder = tf.Module()  # not the Keras model: to save that takes the converter a minute or two
    holder.variables_ = list(model.variables)
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], holder)


def _with_float_log_mel(content: bytes, model: tf_keras.Model) -> bytes:
    """Undo the quantisation of one layer, which the converter can't be told to leave out; small ones it leaves out."""
    types = flatbuffer_utils.schema_fb.TensorType
    file = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    for tensor in (tensor for graph in file.subgraphs for tensor in graph.tensors):
        if f"/{LOG_MEL}/" in tensor.name.decode() and tensor.type == types.INT8:
            (transform,) = next(layer for layer in model.submodules if layer.name == LOG_MEL).get_weights()
            tensor.type, tensor.quantization = types.FLOAT32, None
            file.buffers[tensor.buffer].data = np.frombuffer(transform.T.astype("<f4").tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def _without_cell_clip(content: bytes) -> bytes:
    """Undo `cell_clip = 10`, which the converter writes into every fused LSTM and Keras never had."""
    file = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    for graph in file.subgraphs:
        for operator in graph.operators:
            if hasattr(operator.builtinOptions, "cellClip"):
                operator.builtinOptions.cellClip = 0.0
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))
