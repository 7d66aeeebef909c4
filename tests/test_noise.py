"""Noise of a known colour, recordings cut by time, clips of silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from pipeline import config
from pipeline.corpora import noise, noise_kinds
from pipeline.corpora.manifest import SPLITS, TESTING, TRAINING, VALIDATION
from pipeline.device import audio
from pipeline.errors import AudioError

RATE_HZ = 16_000


def rms_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def write_ramp(path: Path, seconds: float, rate_hz: int = RATE_HZ) -> Path:
    """A recording in which every sample is above the one before."""
    samples = np.linspace(-0.9, 0.9, int(seconds * rate_hz), dtype=np.float32)
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    return path


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_spectrum_falls_with_the_exponent(exponent: float) -> None:
    samples = noise_kinds.coloured_noise(2**17, exponent, np.random.default_rng(1))
    frequencies, density = signal.welch(samples, nperseg=4096)
    band = (frequencies > 0.004) & (frequencies < 0.45)
    slope, _ = np.polyfit(np.log(frequencies[band]), np.log(density[band]), 1)
    assert slope == pytest.approx(-exponent, abs=0.05)


@pytest.mark.parametrize("samples", [2, 999, 16_000])
def test_coloured_noise_has_unit_rms_and_no_constant_part(samples: int) -> None:
    made = noise_kinds.coloured_noise(samples, 1.5, np.random.default_rng(2))
    assert (made.dtype, made.shape) == (np.float32, (samples,))
    assert np.sqrt(np.mean(np.square(made))) == pytest.approx(1, abs=1e-4)
    assert abs(made.mean()) < 1e-4


def test_seeded_numbers_depend_on_every_part() -> None:
    parts = [(1, "training", 0), (2, "training", 0), (1, "testing", 0), (1, "training", 1), (1, "training0")]
    assert noise.seeded(*parts[0]).random() == noise.seeded(*parts[0]).random()
    assert len({noise.seeded(*part).random() for part in parts}) == len(parts)


def test_made_recordings_differ_and_are_the_same_again(tmp_path: Path) -> None:
    settings = config.load()
    made = noise.recordings(settings, tmp_path / "a")
    again = noise.recordings(settings, tmp_path / "b")
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    assert len({path.read_bytes() for path in made}) == len(made) >= 3
    sounds = {path.stem: soundfile.read(path)[0] for path in made}
    for samples in sounds.values():
        assert len(samples) == noise.RECORDING_S * RATE_HZ
        assert rms_db(samples) == pytest.approx(noise.RECORDING_DBFS, abs=0.5)
        assert np.mean(np.abs(samples) > 0.99) < 1e-4
    frequencies, density = signal.welch(sounds["mains_50_hz"], RATE_HZ, nperseg=RATE_HZ)
    assert frequencies[np.argmax(density)] % 50 == 0
    frequencies, density = signal.welch(sounds["hiss"], RATE_HZ, nperseg=RATE_HZ)
    assert density[(frequencies > 2_500) & (frequencies < 6_000)].mean() > 100 * density[frequencies < 300].mean()


def test_recordings_at_a_low_sample_rate(tmp_path: Path) -> None:
    text = "[audio]\nsample_rate_hz = 8000\n[features]\nf_max_hz = 4000\nn_fft = 256\n"
    (tmp_path / "low.toml").write_text(text)
    for path in noise.recordings(config.load(tmp_path / "low.toml"), tmp_path):
        samples = audio.read(path, 8_000)
        assert len(samples) == 30 * 8_000
        assert rms_db(samples) == pytest.approx(noise.RECORDING_DBFS, abs=0.5)


def test_parts_are_in_order_and_disjoint(tmp_path: Path) -> None:
    recordings = [write_ramp(tmp_path / "b.wav", 20), write_ramp(tmp_path / "a.flac", 10)]
    settings = config.load(corpus={"validation_percent": 20, "testing_percent": 10})
    pieces = noise.cut(recordings, tmp_path, settings)
    assert {split: [path.name for path in paths] for split, paths in pieces.items()} == {
        split: ["00_a.wav", "01_b.wav"] for split in SPLITS
    }
    for index, recording in enumerate(sorted(recordings)):
        parts = [soundfile.read(pieces[split][index])[0] for split in (TRAINING, VALIDATION, TESTING)]
        whole = soundfile.read(recording)[0]
        assert [len(part) / len(whole) for part in parts] == pytest.approx([0.7, 0.2, 0.1], abs=1e-3)
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_parts_are_at_the_rate_of_the_pipeline(tmp_path: Path) -> None:
    pieces = noise.cut([write_ramp(tmp_path / "a.wav", 10, 44_100)], tmp_path, config.load())
    assert [soundfile.info(pieces[split][0]).samplerate for split in SPLITS] == [RATE_HZ] * 3
    assert sum(soundfile.info(pieces[split][0]).frames for split in SPLITS) == pytest.approx(10 * RATE_HZ, abs=2)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"no sound", "not readable as audio"), (b"", "empty file"), (None, "too short: 500 ms")]
)
def test_a_bad_recording_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.wav"
    if content is None:
        write_ramp(path, 0.5)
    else:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"bad\.wav: {reason}"):
        noise.cut([path], tmp_path, config.load())


def test_silence_is_of_many_levels_and_never_loud(tmp_path: Path) -> None:
    settings = config.load()
    pieces = noise.cut(noise.recordings(settings, tmp_path), tmp_path, settings)
    clips = noise.silence_clips(200, pieces[TRAINING], tmp_path, TRAINING, settings)
    assert [path.name for path in clips] == sorted(path.name for path in (tmp_path / "silence" / TRAINING).iterdir())
    sounds = [soundfile.read(path)[0] for path in clips]
    assert {len(samples) for samples in sounds} == {settings.audio.clip_samples}
    levels = np.array([rms_db(samples) for samples in sounds])
    loudest = max(rms_db(soundfile.read(path)[0]) for path in pieces[TRAINING])
    assert levels.max() < loudest + 15  # a swell in it, and a gain of 1.2
    assert 5 <= np.sum(levels < -88) <= 50  # next to nothing
    assert np.sum((levels > -80) & (levels < -50)) > 20
    assert np.sum(levels > -35) > 20
    assert len({path.read_bytes() for path in clips}) > 180  # only digital silence repeats


def test_coloured_silence_without_recordings_keeps_its_range(tmp_path: Path) -> None:
    clips = noise.silence_clips(50, [], tmp_path, TESTING, config.load())
    levels = np.array([rms_db(soundfile.read(path)[0]) for path in clips])
    assert levels.max() < noise.COLOURED_DBFS[1] + 0.1
    assert levels.min() < -88


def test_silence_depends_on_seed_split_and_number_alone(tmp_path: Path) -> None:
    def made(count: int, split: str, folder: str, seed: int = 1) -> list[bytes]:
        paths = noise.silence_clips(count, pieces, tmp_path / folder, split, config.load(corpus={"seed": seed}))
        return [path.read_bytes() for path in paths]

    pieces = [write_ramp(tmp_path / "short.wav", 0.3), write_ramp(tmp_path / "long.wav", 3)]
    first = made(10, TRAINING, "a")
    assert made(5, TRAINING, "b") == first[:5]
    assert made(10, TESTING, "c") != first
    assert made(10, TRAINING, "d", seed=2) != first


# --- never trained on ---


def test_noise_never_trained_on_is_of_several_kinds_and_the_same_again(tmp_path: Path) -> None:
    def made(folder: str, seed: int = 1) -> dict[str, list[bytes]]:
        clips = noise.never_trained_on(tmp_path / folder, config.load(corpus={"seed": seed}))
        return {kind: [path.read_bytes() for path in paths] for kind, paths in clips.items()}

    first = made("a")
    assert made("b") == first
    assert len(first) >= 5
    contents = [content for clips in first.values() for content in clips]
    assert len(set(contents)) == len(contents) == noise.CLIPS_OF_A_KIND * len(first)
    other = made("c", seed=2)
    assert all(set(clips).isdisjoint(other[kind]) for kind, clips in first.items())


@pytest.mark.parametrize(("rate_hz", "clip_ms"), [(8_000, 1_000), (16_000, 1_000), (16_000, 200)])
def test_noise_never_trained_on_is_one_window_at_many_levels_and_not_clipped(
    rate_hz: int, clip_ms: int, tmp_path: Path
) -> None:
    window = {"sample_rate_hz": rate_hz, "clip_ms": clip_ms}
    settings = config.load(audio=window, features={"f_max_hz": 4_000.0}, augment={"shift_ms": 0})
    low_db, high_db = noise.KINDS_DBFS
    for kind, paths in noise.never_trained_on(tmp_path, settings).items():
        sounds = [audio.read(path, rate_hz) for path in paths]
        assert {len(samples) for samples in sounds} == {settings.audio.clip_samples}
        levels = [rms_db(samples) for samples in sounds]
        assert low_db - 0.5 < min(levels) < low_db + 15, kind
        assert -35 < max(levels) < high_db + 0.5, kind
        assert max(np.sum(np.abs(samples) > 0.999) for samples in sounds) <= 3, kind  # its peak at most


def test_noise_never_trained_on_is_what_its_name_says(tmp_path: Path) -> None:
    """Strokes are short beside what is between them, and tones stand out of their spectrum."""
    peaky, tonal = {}, {}
    for kind, paths in noise.never_trained_on(tmp_path, config.load()).items():
        sounds = np.stack([audio.read(path, RATE_HZ) for path in paths])
        power = np.square(np.abs(np.fft.rfft(sounds * np.hanning(sounds.shape[1]))))
        peaky[kind] = float(np.median(np.abs(sounds).max(axis=1) / np.sqrt(np.square(sounds).mean(axis=1))))
        strongest = np.sort(power, axis=1)[:, -100:].sum(axis=1) / power.sum(axis=1)
        tonal[kind] = float(np.median(strongest))
    for kind in ("keyboard", "clatter", "crackle"):
        assert peaky[kind] > 5
    for kind in ("alarm", "music", "engine"):
        assert tonal[kind] > 0.6
    for kind in ("keyboard", "crackle"):
        assert tonal[kind] < 0.15


# --- other kinds in training ---


def test_training_alone_gets_other_kinds_of_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence of validation and testing stays what the protocol says."""

    def tone(time_s: noise_kinds.Times, generator: np.random.Generator) -> noise_kinds.Times:
        return np.sin(2 * np.pi * 1_000 * time_s)

    monkeypatch.setattr(noise_kinds, "TRAINED_ON", (tone,))
    tones = {}
    for split in SPLITS:
        clips = [soundfile.read(p)[0] for p in noise.silence_clips(100, [], tmp_path, split, config.load())]
        spectra = [np.abs(np.fft.rfft(samples)) for samples in clips]
        tones[split] = sum(spectrum.argmax() == 1_000 for spectrum in spectra)
    assert tones[TRAINING] == pytest.approx(100 * noise.KINDS_SHARE, abs=15)
    assert tones[VALIDATION] == tones[TESTING] == 0


@pytest.mark.parametrize("kind", noise_kinds.TRAINED_ON)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_a_kind_of_noise_is_heard_and_each_time_another(kind: noise_kinds.Kind, rate_hz: int) -> None:
    time_s = np.arange(rate_hz) / rate_hz
    sounds = np.array([kind(time_s, np.random.default_rng(seed)) for seed in range(50)])
    assert np.isfinite(sounds).all()
    assert sounds.std(axis=1).min() > 0.01
    assert len(np.unique(sounds, axis=0)) == 50
