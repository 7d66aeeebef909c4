"""What figures were measured on."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import joblib


def cpu() -> str:
    """Name of the processor, as it calls itself."""
    known = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", known.read_text(encoding="utf-8")) if known.exists() else []
    return names[0] if names else platform.processor()


def cores() -> int:
    """Number of processor cores that this process may use; a container or `taskset` may leave it fewer."""
    return int(joblib.cpu_count())
