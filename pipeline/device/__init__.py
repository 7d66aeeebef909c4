"""What also runs on a Raspberry Pi: numpy, ai-edge-litert, flatbuffers, click, soundfile and soxr, nothing else."""

from pipeline.device.recognizer import Recognizer

__all__ = ["Recognizer"]
