"""`make bench`: it runs, and the two MFCC it compares are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_pipeline_s_features_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    out = tmp_path / "features.json"
    command = [sys.executable, "benchmarks/features.py", "--clips", "20", "--repeats", "1", "--json", str(out)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    figures = json.loads(out.read_text())
    assert figures["data"] == "generated noise: 20 WAV files"
    assert figures["max_difference"] < 1e-4
    assert figures["stage_clips_per_s"] > 0
