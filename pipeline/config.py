"""Every number that the pipeline can be tuned by, with its unit in its name.

A settings file (TOML) lists only what differs from these defaults.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import SettingsError

CORPUS_KINDS = ("synthetic", "speech_commands", "folder")
SPLITS_BY = ("speaker", "take")
RELEASES = ("v0.02", "v0.01", "mini")

# Label names fixed by the Speech Commands protocol (Warden 2018, arXiv:1804.03209).
SILENCE = "_silence_"
UNKNOWN = "_unknown_"
BACKGROUND_NOISE = "_background_noise_"


def exact_div(dividend: int, divisor: int, what: str) -> int:
    """Divide two whole numbers that must divide without remainder.

    Raises
    ------
    SettingsError
        If they don't; `what` names the settings that were combined.
    """
    quotient, remainder = divmod(dividend, divisor)
    if remainder:
        raise SettingsError(f"{what}: {dividend} / {divisor} is not a whole number; choose values that divide")
    return quotient


def require(holds: bool, message: str) -> None:
    """Refuse a settings value with `message` unless `holds`."""
    if not holds:
        raise SettingsError(message)


@dataclass(frozen=True)
class Audio:
    """What one window of sound is."""

    sample_rate_hz: int = 16_000
    clip_ms: int = 1_000

    def __post_init__(self) -> None:
        require(self.sample_rate_hz > 0 and self.clip_ms > 0, "audio: sample_rate_hz and clip_ms must be positive")

    @property
    def clip_samples(self) -> int:
        return exact_div(self.sample_rate_hz * self.clip_ms, 1000, "audio.sample_rate_hz * audio.clip_ms / 1000")


@dataclass(frozen=True)
class Corpus:
    """Where the sound comes from and how it is divided."""

    kind: str = "synthetic"
    source: str = ""  # a folder; empty: make it (synthetic) or download it (speech_commands)
    release: str = "v0.02"  # which Speech Commands to download
    keywords: tuple[str, ...] = ()  # empty: the ten words of the protocol; in a folder, every sub-folder
    split_by: str = "speaker"
    validation_percent: float = 10.0
    testing_percent: float = 10.0
    # Share of the keyword clips in the same split (Warden 2018); in training more of both helps.
    unknown_percent: float = 10.0
    silence_percent: float = 10.0
    training_unknown_percent: float = 20.0
    training_silence_percent: float = 10.0
    min_clip_ms: int = 200
    max_rejected_percent: float = 5.0
    seed: int = 1
    # Synthetic speech only.
    accents: tuple[str, ...] = (
        "en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
    )  # fmt: skip
    variants: int = 78  # voice variants for each accent; a variant belongs to one split
    takes: int = 1  # of each keyword by each voice

    def __post_init__(self) -> None:
        require(self.kind in CORPUS_KINDS, f"corpus.kind {self.kind!r}: choose one of {', '.join(CORPUS_KINDS)}")
        require(self.release in RELEASES, f"corpus.release {self.release!r}: choose one of {', '.join(RELEASES)}")
        require(self.split_by in SPLITS_BY, f"corpus.split_by {self.split_by!r}: choose one of {', '.join(SPLITS_BY)}")
        require(
            all(word.strip() for word in self.keywords), "corpus.keywords: a word is empty; remove it from the list"
        )
        repeated = sorted({word for word in self.keywords if self.keywords.count(word) > 1})
        require(not repeated, f"corpus.keywords: {', '.join(repeated)} is listed twice; remove one")
        for name in ("validation", "testing", "unknown", "silence", "training_unknown", "training_silence"):
            percent = getattr(self, f"{name}_percent")
            require(0 <= percent <= 100, f"corpus.{name}_percent is {percent}; give a value from 0 to 100")
        require(self.validation_percent + self.testing_percent < 100, "corpus: no percent is left for training")
        require(self.variants >= 3, "corpus.variants: three splits need at least three voice variants")
        require(self.takes >= 1, "corpus.takes must be at least 1")


@dataclass(frozen=True)
class Features:
    """Mel-frequency cepstral coefficients, as librosa computes them."""

    window_ms: int = 25
    hop_ms: int = 20
    n_fft: int = 512
    n_mels: int = 40
    n_mfcc: int = 40
    f_min_hz: float = 20.0
    f_max_hz: float = 7_600.0
    shard_clips: int = 512  # clips (each with its augmented copies) in one file

    def __post_init__(self) -> None:
        require(
            self.n_fft > 0 and self.n_fft & (self.n_fft - 1) == 0,
            f"features.n_fft is {self.n_fft}; give a power of two",
        )
        require(
            0 < self.n_mfcc <= self.n_mels,
            f"features.n_mfcc is {self.n_mfcc}; give 1 to n_mels, which is {self.n_mels}",
        )
        require(0 <= self.f_min_hz < self.f_max_hz, "features: f_min_hz must be at least 0 and below f_max_hz")
        require(self.hop_ms > 0 and self.window_ms > 0, "features: hop_ms and window_ms must be positive")
        require(self.shard_clips > 0, "features.shard_clips must be at least 1")

    def hop_samples(self, audio: Audio) -> int:
        return exact_div(audio.sample_rate_hz * self.hop_ms, 1000, "audio.sample_rate_hz * features.hop_ms / 1000")

    def window_samples(self, audio: Audio) -> int:
        samples = exact_div(
            audio.sample_rate_hz * self.window_ms, 1000, "audio.sample_rate_hz * features.window_ms / 1000"
        )
        require(
            samples <= self.n_fft,
            f"features.window_ms is {samples} samples; features.n_fft, {self.n_fft}, must hold them",
        )
        return samples

    def frames(self, audio: Audio) -> int:
        """Number of MFCC frames in one clip; none is padded."""
        require(
            audio.clip_samples >= self.n_fft,
            f"audio.clip_ms is {audio.clip_ms}; a clip must hold one frame of {self.n_fft} samples",
        )
        return 1 + (audio.clip_samples - self.n_fft) // self.hop_samples(audio)


@dataclass(frozen=True)
class Augment:
    """Changed copies of the training clips; each range is drawn from evenly, each time anew."""

    copies: int = 5
    shift_ms: int = 100
    speed_percent: float = 15.0
    room_probability: float = 0.4
    equaliser_probability: float = 0.6
    equaliser_db: float = 10.0
    gain_db: float = 8.0
    noise_probability: float = 0.8
    min_snr_db: float = 0.0
    max_snr_db: float = 40.0
    seed: int = 2

    def __post_init__(self) -> None:
        require(self.copies >= 0, "augment.copies must be 0 or more")
        require(0 <= self.speed_percent < 50, "augment.speed_percent: give 0 to 50")
        require(self.min_snr_db <= self.max_snr_db, "augment: min_snr_db is above max_snr_db")
        for name in ("room", "equaliser", "noise"):
            value = getattr(self, f"{name}_probability")
            require(0 <= value <= 1, f"augment.{name}_probability is {value}; give 0 to 1")


@dataclass(frozen=True)
class Model:
    """The bidirectional LSTM classifier."""

    conv_filters: int = 96
    conv_frames: int = 5
    conv_stride: int = 2
    lstm_units: tuple[int, ...] = (64, 48)
    attention_units: int = 48
    dropout: float = 0.2

    def __post_init__(self) -> None:
        sizes = (self.conv_filters, self.conv_frames, self.conv_stride, self.attention_units, *self.lstm_units)
        require(
            min(sizes) > 0 and len(self.lstm_units) > 0, "model: every size must be positive, with one LSTM at least"
        )
        require(0 <= self.dropout < 1, f"model.dropout is {self.dropout}; give 0 to below 1")


@dataclass(frozen=True)
class Train:
    epochs: int = 24
    batch_clips: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.05
    mask_frames: int = 8  # SpecAugment: longest run of frames hidden
    mask_coefficients: int = 6
    patience_epochs: int = 8
    mixed_precision: bool = False
    seed: int = 3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_clips", "patience_epochs"):
            require(getattr(self, name) > 0, f"train.{name} must be at least 1")
        require(self.learning_rate > 0, "train.learning_rate must be positive")
        require(0 <= self.label_smoothing < 1, "train.label_smoothing: give 0 to below 1")
        require(min(self.mask_frames, self.mask_coefficients) >= 0, "train: masks must be 0 or more")


@dataclass(frozen=True)
class Quantize:
    calibration_clips: int = 500
    sparsity_percent: float = 0.0  # of the recurrent and dense kernels, pruned before clustering; 0: neither
    clusters: int = 16
    epochs: int = 4  # of fine-tuning, for pruning and again for clustering
    learning_rate: float = 5e-4
    seed: int = 4

    def __post_init__(self) -> None:
        require(self.calibration_clips >= 200, "quantize.calibration_clips: fewer than 200 give poor scales")
        require(0 <= self.sparsity_percent < 100, "quantize.sparsity_percent: give 0 to below 100")
        require(self.clusters >= 2 and self.epochs > 0, "quantize: at least 2 clusters and 1 epoch")


@dataclass(frozen=True)
class Listen:
    false_accept_percent: float = 1.0  # of the clips that are not the word; sets its threshold

    def __post_init__(self) -> None:
        require(0 < self.false_accept_percent < 100, "listen.false_accept_percent: give a value between 0 and 100")


@dataclass(frozen=True)
class Settings:
    audio: Audio = field(default_factory=Audio)
    corpus: Corpus = field(default_factory=Corpus)
    features: Features = field(default_factory=Features)
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    quantize: Quantize = field(default_factory=Quantize)
    listen: Listen = field(default_factory=Listen)

    def __post_init__(self) -> None:
        self.features.frames(self.audio)
        self.features.window_samples(self.audio)
        nyquist_hz = self.audio.sample_rate_hz / 2
        require(
            self.features.f_max_hz <= nyquist_hz, f"features.f_max_hz is above half the sample rate, {nyquist_hz:g}"
        )

    def section(self, name: str) -> dict[str, Any]:
        """One section as plain JSON types."""
        values = dataclasses.asdict(getattr(self, name))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


SECTIONS: dict[str, type] = {f.name: typing.cast(type, f.default_factory) for f in dataclasses.fields(Settings)}


def load(path: Path | None = None, corpus: Mapping[str, Any] | None = None) -> Settings:
    """Read a settings file over the defaults.

    Parameters
    ----------
    path
        TOML file; None for the defaults.
    corpus
        Values of the corpus section given on the command line or by `make`; they win over the file.

    Raises
    ------
    SettingsError
        For an unreadable file, an unknown section or key, a value of the wrong type or out of range.
    """
    overlay = _read(path) if path else {}
    if corpus:
        overlay["corpus"] = {**overlay.get("corpus", {}), **corpus}
    where = str(path) if path else "settings"
    if unknown := sorted(overlay.keys() - SECTIONS.keys()):
        raise SettingsError(f"{where}: unknown section [{unknown[0]}]; known: {', '.join(SECTIONS)}")
    return Settings(**{name: build_section(name, values, where) for name, values in overlay.items()})


def build_section(name: str, values: Any, where: str) -> Any:
    """One section from plain TOML or JSON values, every key and type checked."""
    kind = SECTIONS[name]
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}: {name} must be a section, [{name}]")
    types = typing.get_type_hints(kind)
    if unknown := sorted(values.keys() - types.keys()):
        raise SettingsError(f"{where}: unknown key {name}.{unknown[0]}; known: {', '.join(types)}")
    checked = {key: _typed(f"{where}: {name}.{key}", value, types[key]) for key, value in values.items()}
    try:
        return kind(**checked)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such settings file; see params/ for examples") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: not readable as TOML: {error}") from None


def _typed(where: str, value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        if isinstance(value, list | tuple) and all(type(v) is item for v in value):
            return tuple(value)
        raise SettingsError(f"{where} is {value!r}; give a list of {item.__name__}")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise SettingsError(f"{where} is {value!r}; give a value of type {kind.__name__}")
    return value
