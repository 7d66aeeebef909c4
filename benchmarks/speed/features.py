"""Features on one core: librosa clip by clip and other libraries against the pipeline's batches; the stage, decoding.

Times are processor seconds, so that what else the machine does counts little.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from benchmarks.speed import figures
from benchmarks.speed.figures import Figure, alternate, beside
from pipeline.config import BACKGROUND_NOISE, Augment, Settings
from pipeline.corpora import manifest, windows
from pipeline.corpora.folder import SOUND_SUFFIXES
from pipeline.corpora.noise_kinds import coloured_noise
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.device.mfcc import mfcc
from pipeline.errors import PipelineError
from pipeline.stages import features as stage

TOLERANCE = 1e-4
SETTINGS = Settings(augment=Augment(copies=0, fragments=0))  # one window a clip


def measure(source: str | None, clips: int, repeats: int) -> list[Figure]:
    """Of clips from all over a folder, or of made ones.

    Raises
    ------
    PipelineError
        If there are no clips, or if batches don't give what librosa's own calls give.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = choose(Path(source), clips) if source else make_noise(folder / "noise", clips)
        figures.on_one_core()
        what = describe(paths, Path(source).name if source else "generated noise")
        # In this order: TensorFlow's many objects would make Python's garbage collector slow for the stage.
        return _stage(paths, folder, repeats, what) + _transforms(paths, repeats)


def _transforms(paths: Sequence[Path], repeats: int) -> list[Figure]:
    sounds = [audio.fit(read(path), SETTINGS.audio.clip_samples) for path in paths]
    difference = max(
        float(np.abs(alone - together).max())
        for alone, together in zip(one_by_one(sounds), np.concatenate(in_batches(sounds)), strict=True)
    )
    if difference > TOLERANCE:
        raise PipelineError(f"the two MFCC differ by {difference:.2g}, more than {TOLERANCE}")
    by_signal = _by_tensorflow()
    tasks: dict[str, Callable[[], object]] = {
        "MFCC: ours, librosa in batches": lambda: in_batches(sounds),
        "MFCC: librosa, clip by clip": lambda: one_by_one(sounds),
        "MFCC: kaldi-native-fbank": lambda: [_by_kaldi(sound) for sound in sounds],
        "MFCC: tf.signal, in batches": lambda: [by_signal(np.stack(batch)) for batch in _batches(sounds)],
    }
    for task in tasks.values():
        task()  # the first use is slow
    return beside(alternate(repeats, tasks, time.process_time), next(iter(tasks)), len(paths), "ms a clip")


def _stage(paths: Sequence[Path], folder: Path, repeats: int, what: str) -> list[Figure]:
    """Files to shards of MFCC as the stage makes them, and the same files only decoded."""
    corpus, work = folder / "corpus", folder / "features"
    write_corpus(corpus, paths)

    def run_stage() -> None:
        shutil.rmtree(work, ignore_errors=True)
        plan = stage.make_plan(corpus, SETTINGS)
        for part in plan.parts:
            windows.make(plan.shard(part), work, SETTINGS)

    decoding = f"decoding alone, {what}"
    tasks = {decoding: lambda: [read(path) for path in paths], "the features stage": run_stage}
    run_stage()
    return beside(alternate(repeats, tasks, time.process_time), decoding, len(paths), "ms a clip")


def one_by_one(sounds: Sequence[Samples]) -> list[NDArray[np.float32]]:
    """A loop as a person writes it who has librosa's manual."""
    chosen, sound = SETTINGS.features, SETTINGS.audio
    coefficients = []
    for window in sounds:
        mel = librosa.feature.melspectrogram(
            y=window,
            sr=sound.sample_rate_hz,
            n_fft=chosen.n_fft,
            win_length=chosen.window_samples(sound),
            hop_length=chosen.hop_samples(sound),
            center=False,
            n_mels=chosen.n_mels,
            fmin=chosen.f_min_hz,
            fmax=chosen.f_max_hz,
        )
        decibels = librosa.power_to_db(mel, top_db=None)
        coefficients.append(librosa.feature.mfcc(S=decibels, n_mfcc=chosen.n_mfcc).T)
    return coefficients


def in_batches(sounds: Sequence[Samples]) -> list[NDArray[np.float32]]:
    return [mfcc(np.stack(batch), audio=SETTINGS.audio, features=SETTINGS.features) for batch in _batches(sounds)]


def _batches(sounds: Sequence[Samples]) -> list[Sequence[Samples]]:
    size = windows.BATCH_CLIPS
    return [sounds[start : start + size] for start in range(0, len(sounds), size)]


def _by_kaldi(window: Samples) -> list[NDArray[np.float32]]:
    """Of the same lengths and as many bands; its own window, filters and cosine transform."""
    import kaldi_native_fbank as kaldi

    chosen, options = SETTINGS.features, kaldi.MfccOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = SETTINGS.audio.sample_rate_hz
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = chosen.window_ms, chosen.hop_ms
    options.mel_opts.num_bins, options.num_ceps = chosen.n_mels, chosen.n_mfcc
    extractor = kaldi.OnlineMfcc(options)
    extractor.accept_waveform(SETTINGS.audio.sample_rate_hz, window)
    extractor.input_finished()
    return [extractor.get_frame(number) for number in range(extractor.num_frames_ready)]


def _by_tensorflow() -> Callable[[NDArray[np.float32]], Any]:
    """A traced graph of `tf.signal` on one thread, of the same lengths and as many bands."""
    from pipeline.network.engine import tf

    chosen, sound = SETTINGS.features, SETTINGS.audio
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    filters = tf.signal.linear_to_mel_weight_matrix(
        chosen.n_mels, chosen.n_fft // 2 + 1, sound.sample_rate_hz, chosen.f_min_hz, chosen.f_max_hz
    )

    def transform(samples: Any) -> Any:
        spectrum = tf.signal.stft(samples, chosen.window_samples(sound), chosen.hop_samples(sound), chosen.n_fft)
        mel = tf.tensordot(tf.square(tf.abs(spectrum)), filters, 1)
        return tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(mel + 1e-10))[..., : chosen.n_mfcc]

    signature = [tf.TensorSpec((None, sound.clip_samples), tf.float32)]
    traced: Callable[[NDArray[np.float32]], Any] = tf.function(transform, input_signature=signature)
    return traced


# --- the clips ---


def read(path: Path) -> Samples:
    return audio.read(path, SETTINGS.audio.sample_rate_hz)


def choose(source: Path, count: int) -> list[Path]:
    """At most `count` sound files, evenly from all over the sorted ones, without long recordings of noise."""
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in SOUND_SUFFIXES and BACKGROUND_NOISE not in path.parts and path.name[0] != "."
    )
    if not found:
        raise PipelineError(f"{source}: no sound files in it; give SOURCE a folder of clips")
    places = np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)
    return [found[place] for place in places]


def make_noise(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    generator = np.random.default_rng(1)
    paths = [folder / f"{number:05d}.wav" for number in range(count)]
    for path in paths:
        samples = coloured_noise(SETTINGS.audio.clip_samples, generator.uniform(0, 2), generator)
        audio.write(path, samples * np.float32(0.1), SETTINGS.audio.sample_rate_hz)
    return paths


def write_corpus(folder: Path, paths: Sequence[Path], times: int = 1) -> None:
    """A corpus of one word, with each clip so many times."""
    folder.mkdir()
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    clip = manifest.Clip("", "word", "", manifest.TRAINING, "benchmark", "word", "")
    clips = [
        dataclasses.replace(clip, path=str(path.absolute()), sha256=digest)
        for path, digest in zip(paths, digests, strict=True)
    ]
    manifest.write(folder, clips * times, manifest.labels(["word"]))


def describe(paths: Sequence[Path], name: str) -> str:
    kinds = Counter(path.suffix.lstrip(".").upper() for path in paths)
    return f"{name}: " + ", ".join(f"{count:,} {kind} files" for kind, count in sorted(kinds.items()))


if __name__ == "__main__":
    figures.answer(measure)
