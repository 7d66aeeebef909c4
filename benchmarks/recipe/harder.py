"""The validation clips made harder: differences between recipes are larger there than on clips that most get right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.config import BACKGROUND_NOISE, Augment, Settings
from pipeline.corpora import manifest
from pipeline.corpora.augment import augment
from pipeline.device.interpreter import WAVEFORM
from pipeline.device.mfcc import mfcc
from pipeline.stages.evaluate import Examples

COPIES = 3
# Stated whole, so that no recipe has a part in it: noise and place are changed, nothing else.
CHANGES = Augment(
    copies=COPIES,
    shift_ms=250,
    speed_percent=0.0,
    room_probability=0.0,
    equaliser_probability=0.0,
    equaliser_db=0.0,
    gain_db=0.0,
    noise_probability=1.0,
    min_snr_db=5.0,
    max_snr_db=25.0,
    fragments=0,
    talk_percent=0.0,
    seed=6,
)


def features(examples: Examples, settings: Settings) -> NDArray[np.float32]:
    """MFCC of the changed copies, `(clips * COPIES, frames, n_mfcc)`, the copies of a clip side by side.

    The noise is that of the validation split, or coloured. What is drawn depends on the clip and on the number of the
    copy alone, so every recipe is measured on the same sound.
    """
    sound, clips = settings.audio, manifest.read(examples.corpus)
    recordings = manifest.recordings(clips, manifest.VALIDATION, BACKGROUND_NOISE)
    noise = [manifest.sound(examples.corpus, clip, sound.sample_rate_hz) for clip in recordings]
    parts = []
    for clip, window in zip(examples.clips, examples.windows(WAVEFORM), strict=True):
        generators = [np.random.default_rng([CHANGES.seed, copy, int(clip.sha256[:16], 16)]) for copy in range(COPIES)]
        copies = [augment(window, audio=sound, settings=CHANGES, noise=noise, generator=g) for g in generators]
        parts.append(mfcc(np.stack(copies), audio=sound, features=settings.features))
    return np.concatenate(parts)
