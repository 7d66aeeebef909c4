"""The door: what comes in as sound, and why a file is turned away."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.config import Settings
from pipeline.corpora.folder import SOUND_SUFFIXES
from pipeline.device import audio
from pipeline.device.audio import Samples, decode, fit, read, resample
from pipeline.device.mfcc import mfcc
from pipeline.errors import AudioError

RATE_HZ = 16_000


def sine(frequency_hz: float, rate_hz: int = RATE_HZ, seconds: float = 1.0, level: float = 0.5) -> Samples:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def sound(samples: np.ndarray, rate_hz: int = RATE_HZ, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """Bytes of a sound file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


def refused(content: bytes, min_ms: int = 0) -> str:
    with pytest.raises(AudioError) as caught:
        decode(content, RATE_HZ, min_ms)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- what comes in ---


@pytest.mark.parametrize(
    ("form", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1 / 128), ("WAV", "PCM_16", 1 / 32768), ("WAV", "PCM_24", 1 / 2**23), ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0), ("FLAC", "PCM_16", 1 / 32768), ("FLAC", "PCM_24", 1 / 2**23),
        ("AIFF", "PCM_16", 1 / 32768), ("OGG", "VORBIS", 0.02),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_sound(form: str, subtype: str, error: float) -> None:
    given = sine(440)
    samples = decode(sound(given, form=form, subtype=subtype), RATE_HZ)
    assert samples.shape == given.shape
    assert samples.dtype == np.float32
    # A lossy codec needs a moment to begin and to end.
    inside = slice(1000, -1000) if form == "OGG" else slice(None)
    np.testing.assert_allclose(samples[inside], given[inside], atol=error)


@pytest.mark.parametrize(("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS")])
def test_a_lossy_format_keeps_frequency_and_level(form: str, subtype: str) -> None:
    samples = decode(sound(sine(440), form=form, subtype=subtype), RATE_HZ)
    assert peak_hz(samples) == pytest.approx(440, abs=2)
    assert np.sqrt(2 * np.mean(samples[2000:-2000] ** 2)) == pytest.approx(0.5, rel=0.05)


def test_stereo_becomes_the_mean_of_its_channels() -> None:
    left, right = sine(300, level=0.8), sine(1000, level=0.4)
    samples = decode(sound(np.stack([left, right], axis=1), subtype="FLOAT"), RATE_HZ)
    np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-7)


def test_five_channels_become_one() -> None:
    channels = np.zeros((RATE_HZ, 5), np.float32)
    channels[:, 3] = sine(440)
    np.testing.assert_allclose(decode(sound(channels, subtype="FLOAT"), RATE_HZ), channels[:, 3] / 5, atol=1e-7)


def peak_hz(samples: Samples, rate_hz: int = RATE_HZ) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_another_rate_keeps_frequency_level_and_length(rate_hz: int) -> None:
    samples = decode(sound(sine(1000, rate_hz), rate_hz, subtype="FLOAT"), RATE_HZ)
    assert abs(len(samples) - RATE_HZ) <= 1
    assert samples.dtype == np.float32
    assert peak_hz(samples) == pytest.approx(1000, abs=1.5)
    middle = samples[2000:-2000]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=1e-3)


def test_what_the_new_rate_cannot_hold_is_filtered_out() -> None:
    samples = decode(sound(sine(12_000, 44_100), 44_100, subtype="FLOAT"), RATE_HZ)
    assert np.abs(samples[1000:-1000]).max() < 1e-3


def test_the_same_rate_changes_nothing() -> None:
    samples = sine(440)
    assert resample(samples, 8000, 8000) is samples


def test_silence_is_sound() -> None:
    np.testing.assert_array_equal(decode(sound(np.zeros(8000)), RATE_HZ), np.zeros(8000))


def test_a_float_file_beyond_full_scale_is_not_clipped() -> None:
    samples = decode(sound(sine(440, level=2.0), subtype="FLOAT"), RATE_HZ)
    assert np.abs(samples).max() == pytest.approx(2.0, rel=1e-3)


def test_a_wav_cut_off_gives_what_is_there() -> None:
    content = sound(sine(440))
    samples = decode(content[: len(content) // 2], RATE_HZ)
    np.testing.assert_allclose(samples, sine(440)[: len(samples)], atol=1 / 32768)
    assert 7900 < len(samples) < 8000


# --- what is turned away ---

REFUSED = {
    "empty file": (b"", "empty file"),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 32044\n",
        "a Git LFS pointer instead of audio; fetch the real file first",
    ),
    "git-annex pointer": (
        b"/annex/objects/SHA256E-s32044--4d7a2146.wav\n",
        "a git-annex pointer instead of audio; fetch the real file first",
    ),
    "text": (b"yes\n" * 100, "not readable as audio: Format not recognised."),
    "zeros": (bytes(1000), "not readable as audio: Format not recognised."),
    "cut in the header": (
        sound(sine(440))[:30],
        "not readable as audio: Error in WAV file. No 'data' chunk marker.",
    ),
    "flac cut off": (
        sound(sine(440), form="FLAC")[:-1000],
        "not readable as audio: Error : flac decoder lost sync.",
    ),
    "header only": (sound(np.zeros(0)), "no samples"),
    "NaN": (sound(np.array([0.1, np.nan, 0.1]), subtype="FLOAT"), "holds NaN or infinity"),
    "infinity": (sound(np.array([0.1, -np.inf, 0.1]), subtype="FLOAT"), "holds NaN or infinity"),
    "beyond 32 bits": (sound(np.array([0.1, 1e300, 0.1]), subtype="DOUBLE"), "holds NaN or infinity"),
    "16-bit numbers as fractions": (
        sound(32768 * sine(440), subtype="FLOAT"),
        "holds values up to 1.64e+04, and full scale is 1; divide 16-bit samples by 32768",
    ),
    "NaN in one channel": (sound(np.array([[0.1, 0.1], [0.1, np.nan]]), subtype="FLOAT"), "holds NaN or infinity"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_is_refused_with_its_reason(what: str) -> None:
    content, reason = REFUSED[what]
    assert refused(content) == reason


def test_too_short_is_measured_in_the_time_of_the_file() -> None:
    content = sound(sine(440, 44_100, 0.15), 44_100)
    assert refused(content, min_ms=200) == "too short: 150 ms, at least 200 ms are needed"
    assert len(decode(content, RATE_HZ, 150)) == pytest.approx(2400, abs=1)


@pytest.mark.parametrize("level", [1e25, 3e38])
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_numbers_that_are_no_sound_never_become_features(level: float, rate_hz: int) -> None:
    # Bytes gone wrong in a float file: finite, yet one such clip would make the normaliser infinite.
    content = sound(np.full((rate_hz, 2), level), rate_hz, subtype="FLOAT")
    assert "holds" in refused(content)


def test_a_flac_cut_off_anywhere_is_one_error_and_nothing_on_screen(capfd: pytest.CaptureFixture[str]) -> None:
    content = sound(sine(440), form="FLAC")
    for end in (50, 100, 1000, len(content) // 2, len(content) - 1):
        assert refused(content[:end]).startswith("not readable as audio: ")
    assert capfd.readouterr().err == ""


def test_read_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "yes" / "1.wav"
    path.parent.mkdir()
    with pytest.raises(AudioError) as caught:
        read(path, RATE_HZ)
    assert str(caught.value) == f"{path}: No such file or directory"
    path.write_bytes(b"")
    with pytest.raises(AudioError) as caught:
        read(path, RATE_HZ)
    assert str(caught.value) == f"{path}: empty file"
    with pytest.raises(AudioError) as caught:
        read(path.parent, RATE_HZ)
    assert str(caught.value) == f"{path.parent}: Is a directory"


def test_read_and_decode_give_the_same(tmp_path: Path) -> None:
    content = sound(sine(440, 22_050), 22_050)
    (tmp_path / "1.wav").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "1.wav", RATE_HZ), decode(content, RATE_HZ))


def test_the_name_of_a_file_says_nothing_about_its_format(tmp_path: Path) -> None:
    (tmp_path / "really_flac.wav").write_bytes(sound(sine(440), form="FLAC"))
    assert len(read(tmp_path / "really_flac.wav", RATE_HZ)) == RATE_HZ


# --- one window ---


@pytest.mark.parametrize(("length", "before"), [(0, 5), (1, 4), (4, 3), (7, 1), (9, 0)])
def test_a_shorter_clip_is_centred_in_silence(length: int, before: int) -> None:
    window = fit(np.ones(length, np.float32), 10)
    np.testing.assert_array_equal(window, [0.0] * before + [1.0] * length + [0.0] * (10 - before - length))
    assert window.dtype == np.float32


def test_an_exact_clip_stays_as_it_is() -> None:
    samples = sine(440)
    np.testing.assert_array_equal(fit(samples, RATE_HZ), samples)


@pytest.mark.parametrize("start", [0, 1, 7_000, 15_999, 16_000])
def test_of_a_longer_clip_the_loudest_part_is_kept(start: int) -> None:
    recording = 0.01 * np.random.default_rng(1).standard_normal(2 * RATE_HZ).astype(np.float32)
    recording[start : start + RATE_HZ] += 0.5
    np.testing.assert_array_equal(fit(recording, RATE_HZ), recording[start : start + RATE_HZ])


def test_the_loudest_part_is_that_of_most_energy_not_of_the_highest_peak() -> None:
    recording = np.zeros(100, np.float32)
    recording[5] = 1.0  # a click
    recording[60:70] = 0.5
    np.testing.assert_array_equal(fit(recording, 10), np.full(10, 0.5))


def test_a_quiet_end_is_found_after_a_long_loud_beginning() -> None:
    # The sum of squares must not lose small numbers beside large ones.
    recording = np.concatenate([np.full(200_000, 1e-3), np.full(10, 2e-3)]).astype(np.float32)
    np.testing.assert_array_equal(fit(recording, 10), np.full(10, 2e-3, np.float32))


def test_fitted_features_have_the_size_of_the_settings() -> None:
    audio, features = Settings().audio, Settings().features
    shape = (features.frames(audio), features.n_mfcc)
    for seconds in (0.01, 1.0, 5.0):
        window = fit(sine(440, seconds=seconds), audio.clip_samples)
        assert mfcc(window, audio=audio, features=features).shape == shape


# --- recordings that are too long to hold ---


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (48_000, 2), (44_100, 1), (8_000, 1)])
def test_a_stream_is_what_reading_at_once_gives(rate_hz: int, channels: int, tmp_path: Path) -> None:
    path, length_s = tmp_path / "long.flac", 9.7
    time_s = np.arange(round(length_s * rate_hz)) / rate_hz
    tone = 0.4 * np.sin(2 * np.pi * 300 * time_s)
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate_hz)
    pieces = list(audio.stream(path, 16_000))
    assert max(map(len, pieces)) < 16_000 * length_s
    streamed, whole = np.concatenate(pieces), audio.read(path, 16_000)
    assert streamed.dtype == np.float32
    assert abs(len(streamed) - len(whole)) <= 1
    shared = min(len(streamed), len(whole))
    np.testing.assert_allclose(streamed[:shared], whole[:shared], atol=1e-4)
    assert audio.duration_s(path) == pytest.approx(length_s, abs=1e-3)


def test_a_stream_that_breaks_off_gives_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 160_000), 16_000)
    path.write_bytes(path.read_bytes()[:200_000])
    pieces = audio.stream(path, 16_000)
    assert len(next(pieces)) > 0
    with pytest.raises(AudioError, match=r"cut\.flac: "):
        list(pieces)


@pytest.mark.parametrize("kind", ["gone", "folder", "text"])
def test_a_stream_of_nothing_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path, message = {
        "gone": (tmp_path / "gone.wav", "No such file"),
        "folder": (tmp_path, "Is a directory"),
        "text": (tmp_path / "text.wav", "not readable as audio"),
    }[kind]
    (tmp_path / "text.wav").write_text("not sound")
    for opened in (audio.duration_s, lambda path: list(audio.stream(path, 16_000))):
        with pytest.raises(AudioError, match=f"{path.name}: {message}"):
            opened(path)


@pytest.mark.parametrize("what", ["empty file", "LFS pointer", "git-annex pointer", "text"])
def test_what_is_no_sound_is_refused_alike_in_a_stream(what: str, tmp_path: Path) -> None:
    content, reason = REFUSED[what]
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    for opened in (audio.duration_s, lambda path: list(audio.stream(path, 16_000)), lambda path: read(path, 16_000)):
        with pytest.raises(AudioError) as refusal:
            opened(path)
        assert str(refusal.value) == f"{path}: {reason}"


@pytest.mark.parametrize("what", ["NaN", "NaN in one channel", "beyond 32 bits", "16-bit numbers as fractions"])
def test_numbers_that_are_no_sound_are_refused_in_a_stream_by_the_file_s_name(what: str, tmp_path: Path) -> None:
    content, reason = REFUSED[what]
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as refusal:
        list(audio.stream(path, 16_000))
    assert str(refusal.value) == f"{path}: {reason}"


def test_a_name_that_ends_with_raw_says_nothing_about_the_format(tmp_path: Path) -> None:
    path = tmp_path / "sound.raw"
    path.write_bytes(sound(sine(440), form="FLAC"))
    np.testing.assert_array_equal(np.concatenate(list(audio.stream(path, RATE_HZ))), read(path, RATE_HZ))
    assert audio.duration_s(path) == 1
    path.write_bytes(bytes(32_000))
    for opened in (audio.duration_s, lambda path: list(audio.stream(path, 16_000))):
        with pytest.raises(AudioError, match=r"sound\.raw: not readable as audio"):
            opened(path)
    assert path.suffix not in SOUND_SUFFIXES


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_a_sound_file_is_not_taken_for_raw_sound(kind: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1_000), 16_000, format=kind)
    file.seek(0)
    with pytest.raises(AudioError, match="standard input is a sound file, not raw samples; give the file's name"):
        next(audio.raw_stream(file))


def test_raw_sound_is_read_as_it_comes_whatever_its_end() -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_767, 5_000).astype("<i2")
    pieces = list(audio.raw_stream(io.BytesIO(samples.tobytes() + b"x")))
    np.testing.assert_array_equal(np.concatenate(pieces) * 32_768, samples)
