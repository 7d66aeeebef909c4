"""What learns. TensorFlow lives here and in the stages, always with the Keras 2 code of tf_keras."""

import os

# tensorflow-model-optimization sets it too, at import: without this line the order of imports would choose the Keras.
# Keras 3 turns an LSTM into WHILE loops, which integer quantisation can't convert.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
