"""The benchmark of listening measures what it says: a room that is quiet between the words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_streams import RATE_HZ, SOUND, decibels, put

from benchmarks import listening
from pipeline.config import BACKGROUND_NOISE
from pipeline.corpora import manifest
from pipeline.corpora.manifest import TESTING, Clip


def test_the_quiet_room_is_as_quiet_around_the_words_as_between_them(tmp_path: Path) -> None:
    generator, clips = np.random.default_rng(0), []
    for label in ("yes", BACKGROUND_NOISE):
        clip = Clip(f"{label}.wav", label, "someone", TESTING, "made", label, "")
        burst = generator.normal(0, 0.1, RATE_HZ // 5).astype(np.float32)
        clips.append(put(tmp_path, clip, burst))
    manifest.write(tmp_path, clips, ["yes"])
    assert not len(listening.talk(tmp_path, SOUND))  # as where corpus.sentences is 0
    room = listening.quiet_room(tmp_path, SOUND)
    word = room[: len(room) - listening.PAUSE_S * RATE_HZ]
    assert decibels(word[: RATE_HZ // 20]) == pytest.approx(listening.FLOOR_DBFS, abs=1.5)
    assert decibels(room[len(word) :]) == pytest.approx(listening.FLOOR_DBFS, abs=1.5)
