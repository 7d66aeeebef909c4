"""What a trained network misses in sound that goes on: clips don't show what windows between words do to it."""

from __future__ import annotations

import dataclasses
from functools import partial

from pipeline.config import SILENCE, UNKNOWN, Settings
from pipeline.corpora import hearing, manifest
from pipeline.device.interpreter import WAVEFORM, Network
from pipeline.network import calibrate, waveform
from pipeline.network.engine import tf_keras
from pipeline.stages import tune
from pipeline.stages.evaluate import Examples

FALSE_ALARMS_PER_HOUR = 5.0  # of talk; one an hour, what listeners want, would hang on a single alarm


def missed(network: tf_keras.Model, clips: Examples, settings: Settings) -> dict[str, float]:
    """Share of the keywords that are missed in each stream of the validation split.

    The thresholds are chosen on the same streams, without recordings of one's own. The network's scores are
    calibrated, as those of an exported file are.
    """
    calibrate.fold(network, calibrate.temperature(network.predict(clips.mfcc, batch_size=256, verbose=0), clips.truth))
    file = partial(Network, waveform.to_waveform(network, settings.audio, settings.features), "the network", WAVEFORM)
    labels = manifest.read_labels(clips.corpus)
    made = dataclasses.replace(settings, streams=dataclasses.replace(settings.streams, negative=""))
    heard = hearing.hear_all(clips.corpus, manifest.VALIDATION, file, labels, made)
    swept = {name: hearing.sweep(stream) for name, stream in heard.items()}
    words = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    thresholds = tune.choose(words, heard, swept, FALSE_ALARMS_PER_HOUR)
    figures = {name: hearing.figures(hearing.judge_at(stream, thresholds), stream) for name, stream in heard.items()}
    return {name: figure["missed"] for name, figure in figures.items() if figure["words"]}
