"""What figures were measured on."""

from __future__ import annotations

import platform
import re
from pathlib import Path


def cpu() -> str:
    """Name of the processor, as it calls itself."""
    known = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", known.read_text(encoding="utf-8")) if known.exists() else []
    return names[0] if names else platform.processor()
