"""Processor time that listening takes, for each second of sound, with the energy gate and without it.

Run `python benchmarks/listening.py BUILD`: it takes the bundle and the test clips of a whole build. In a quiet room
somebody says a word now and then, and then somebody talks all the time.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline import config
from pipeline.config import BACKGROUND_NOISE, Audio
from pipeline.corpora import streams
from pipeline.corpora.manifest import TESTING
from pipeline.corpora.noise_kinds import coloured_noise
from pipeline.device import Recognizer, Spotter
from pipeline.device.audio import Samples, amplitude
from pipeline.errors import PipelineError

WORDS = 60
PAUSE_S = 8
FLOOR_DBFS = -75.0  # of a quiet room's microphone
NEVER_DBFS = -120.0  # below the last bit: the gate passes all but digital silence
ROUNDS = 3
SEED = 1


@click.command()
@click.argument("build", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too.")
def main(build: Path, out: Path | None) -> None:
    """Time the Spotter of BUILD's bundle."""
    try:
        result = measure(build)
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    view = Table("sound", "gate", "seconds", "processor time, ms a second", title_justify="left")
    for row in result["rows"]:
        view.add_row(row["sound"], row["gate"], f"{row['seconds']:.0f}", f"{row['processor_ms_per_second']:.2f}")
    Console().print(view)
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(build: Path) -> dict[str, Any]:
    recognizer = Recognizer.load(build / "bundle")
    sounds = {"quiet room": quiet_room(build / "corpus", recognizer.audio)}
    if len(samples := talk(build / "corpus", recognizer.audio)):
        sounds["talk"] = samples
    gates = {"on": recognizer.listen.gate_dbfs, "off": NEVER_DBFS}
    turns = list(itertools.product(sounds, gates))
    times_s: dict[tuple[str, str], list[float]] = {turn: [] for turn in turns}
    for sound, gate in turns * ROUNDS:  # a slow minute falls on all
        listen = dataclasses.replace(recognizer.listen, gate_dbfs=gates[gate])
        times_s[sound, gate].append(processor_time_s(recognizer, listen, sounds[sound]))
    seconds = {name: len(samples) / recognizer.audio.sample_rate_hz for name, samples in sounds.items()}
    rows = [
        {
            "sound": sound,
            "gate": gate,
            "seconds": seconds[sound],
            "processor_ms_per_second": 1000 * min(times_s[sound, gate]) / seconds[sound],
        }
        for sound, gate in turns
    ]
    return {"rows": rows, "seed": SEED}


def quiet_room(corpus: Path, sound: Audio) -> Samples:
    """A word of the testing split now and then."""
    snr_db = streams.SPEECH_DBFS - FLOOR_DBFS
    spoken = streams.words(corpus, TESTING, sound, BACKGROUND_NOISE, snr_db, SEED)
    floor = coloured_noise(PAUSE_S * sound.sample_rate_hz, 1, np.random.default_rng(SEED)) * np.float32(
        amplitude(FLOOR_DBFS)
    )
    return np.concatenate([part for segment in itertools.islice(spoken, WORDS) for part in (segment.samples, floor)])


def talk(corpus: Path, sound: Audio) -> Samples:
    spoken = streams.talk(corpus, TESTING, sound, SEED)
    silence = np.zeros(0, np.float32)  # all there is where corpus.sentences is 0
    return np.concatenate([silence, *(segment.samples for segment in itertools.islice(spoken, WORDS * 3))])


def processor_time_s(recognizer: Recognizer, listen: config.Listen, samples: Samples) -> float:
    spotter = Spotter(recognizer.score, recognizer.labels, recognizer.thresholds, recognizer.audio, listen)
    piece = recognizer.audio.sample_rate_hz // 50
    start_s = time.process_time()
    for begin in range(0, len(samples), piece):
        spotter.feed(samples[begin : begin + piece])
    return time.process_time() - start_s


if __name__ == "__main__":
    main()
