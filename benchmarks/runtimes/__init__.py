"""One `.tflite` file in every runtime that people have for it."""
