"""The one door to TensorFlow: everything takes it from here, always with the Keras 2 code of tf_keras."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# tensorflow-model-optimization sets it too, at import: without this line the order of imports would choose the Keras.
# Keras 3 turns an LSTM into WHILE loops, which integer quantisation can't convert.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# What goes wrong is raised in Python. Set it to 0 to see why a GPU isn't found.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def _quiet() -> Iterator[None]:
    """Send the process's standard error nowhere: TensorFlow writes to it at import, before its log level counts."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


with _quiet():
    import tensorflow as tf
    import tf_keras
    from tensorflow.lite.tools import flatbuffer_utils

__all__ = ["flatbuffer_utils", "tf", "tf_keras"]
