"""From a few words to a quantised TFLite recogniser that runs offline on a device."""

__version__ = "0.1.0"
