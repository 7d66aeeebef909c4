"""What also runs on a Raspberry Pi: numpy, ai-edge-litert, flatbuffers, click, soundfile and soxr, nothing else."""

from pipeline.device.recognizer import Recognizer
from pipeline.device.spot import Spotter

__all__ = ["Recognizer", "Spotter"]
