"""Every number that the pipeline can be tuned by, with its unit in its name.

A settings file (TOML) lists only what differs from these defaults.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import SettingsError

# Label names fixed by the Speech Commands protocol (Warden 2018, arXiv:1804.03209).
SILENCE = "_silence_"
UNKNOWN = "_unknown_"
BACKGROUND_NOISE = "_background_noise_"
TALK = "_talk_"  # people talking, none of the keywords among what they say
RESERVED = (SILENCE, UNKNOWN, BACKGROUND_NOISE, TALK)
TEN_WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

MIN_CALIBRATION_CLIPS = 200  # with 5, int8 changed 12 % of the labels
MAX_SEED = 2**31 - 1


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


def number(default: Any, low: float, high: float) -> Any:
    """A setting from `low` to `high`, both allowed; of a list, each item."""
    return field(default=default, metadata={"low": low, "high": high})


def choice(default: str, *known: str) -> Any:
    """A setting that is one of the names given."""
    return field(default=default, metadata={"known": known})


class Section:
    """A part of the settings that checks its own numbers and names."""

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):  # type: ignore[arg-type]
            place, value, limits = (
                f"{type(self).__name__.lower()}.{setting.name}",
                getattr(self, setting.name),
                setting.metadata,
            )
            if "known" in limits:
                require(value in limits["known"], f"{place} {value!r}: choose one of {', '.join(limits['known'])}")
            if "low" in limits:
                values = value if isinstance(value, tuple) else (value,)
                within = all(limits["low"] <= item <= limits["high"] for item in values)  # false for NaN
                require(within, f"{place} is {value}; give {limits['low']} to {limits['high']}")
        self.check()

    def check(self) -> None:
        """Refuse values that don't go together."""


@dataclass(frozen=True)
class Audio(Section):
    """What one window of sound is."""

    sample_rate_hz: int = number(16_000, 4_000, 192_000)
    clip_ms: int = number(1_000, 1, 60_000)

    @property
    def clip_samples(self) -> int:
        return exact_div(self.sample_rate_hz * self.clip_ms, 1000, "audio.sample_rate_hz * audio.clip_ms / 1000")


@dataclass(frozen=True)
class Corpus(Section):
    """Where the sound comes from and how it is divided."""

    kind: str = choice("synthetic", "synthetic", "speech_commands", "mswc", "folder")
    source: str = ""  # a folder; empty: make it (synthetic) or download it (speech_commands)
    release: str = choice("v0.02", "v0.02", "v0.01", "mini")  # which Speech Commands to download
    # Each a word, or a word and how it is said, in eSpeak NG's phonemes: `lamp [[l'amp]]`.
    keywords: tuple[str, ...] = ()  # empty: the ten words of the protocol; in a folder, every sub-folder
    frequent_words: int = number(10, 1, 10_000)  # of mswc, where no keywords are given: so many
    # Other words that training and validation leave out, so that what becomes of words never heard is measured.
    held_out_words: tuple[str, ...] = ()  # none of synthetic speech: its other words differ from split to split
    split_by: str = choice("speaker", "speaker", "take")
    validation_percent: float = number(10.0, 1, 98)
    testing_percent: float = number(10.0, 1, 98)
    # Share of the keyword clips in the same split (Warden 2018); in training more of other words helps.
    unknown_percent: float = number(10.0, 0, 100)
    silence_percent: float = number(10.0, 0, 100)
    training_unknown_percent: float = number(20.0, 0, 100)
    training_silence_percent: float = number(20.0, 0, 100)
    min_clip_ms: int = number(200, 0, 60_000)
    max_rejected_percent: float = number(5.0, 0, 100)
    seed: int = number(1, 0, MAX_SEED)
    # Synthetic speech: all of a synthetic corpus, and the talk without keywords of every corpus.
    language: str = "en"  # as eSpeak NG names it, such as fr or ja; of mswc the language of its clips too
    sentences: int = number(1_440, 0, 1_000_000)  # of talk in each split, an hour
    accents: tuple[str, ...] = ()  # voices of the language; empty: all that eSpeak NG has
    variants: int = number(78, 3, 1_000)  # voices for each accent; a variant belongs to one split, so three at least
    # More like people's, and slow; English only. Words are said by no more of the other voices than of these.
    kokoro_voices: int = number(150, 0, 10_000)
    # Of each keyword by each voice, in a synthetic corpus; 0: one in English, more where there are fewer accents.
    takes: int = number(0, 0, 1_000)
    # Beside recordings of people, in training alone: half of them keywords, half other words.
    synthetic_clips: int = number(0, 0, 10_000_000)
    # Of the other words that synthetic voices say to train on, how many are a keyword with a sound changed.
    near_percent: float = number(25.0, 0, 100)

    @property
    def words(self) -> tuple[str, ...]:
        """The keywords without their pronunciations."""
        return tuple(_parse(entry)[0] for entry in self.keywords)

    @property
    def pronunciations(self) -> dict[str, str]:
        """How a word is said where that is given, as eSpeak NG takes it: `[[l'amp]]`."""
        return {word: said for word, said in map(_parse, self.keywords) if said}

    def check(self) -> None:
        keywords = _check_words("corpus.keywords", self.words)
        held_out = _check_words("corpus.held_out_words", self.held_out_words)
        both = [word for word, plain in zip(self.held_out_words, held_out, strict=True) if plain in keywords]
        remedy = "remove it there, or name the keywords without it in corpus.keywords or WORDS"
        require(not both, f"corpus.held_out_words: {', '.join(both)}: what is a keyword must be learnt; {remedy}")
        enough = self.kokoro_voices == 0 or self.kokoro_voices >= 3  # a voice belongs to one split
        require(enough, f"corpus.kokoro_voices is {self.kokoro_voices}; give 0, or 3 at least")
        unread = self.kind == "synthetic" and self.source != ""
        require(not unread, "corpus.source is given, but speech is made: set CORPUS to folder or speech_commands")
        require(self.validation_percent + self.testing_percent < 100, "corpus: no percent is left for training")
        given = f"corpus.synthetic_clips is {self.synthetic_clips}"
        require(self.synthetic_clips % 2 == 0, f"{given}; give an even number, since half of them are keywords")
        beside = self.kind == "synthetic" and self.synthetic_clips > 0
        remedy = "remove it, or set CORPUS to folder, speech_commands or mswc"
        require(not beside, f"corpus.synthetic_clips: a synthetic corpus has no people to speak beside; {remedy}")
        foreign = [accent for accent in self.accents if _primary(accent) != _primary(self.language)]
        remedy = "remove it, or set corpus.language to its language"
        require(
            not foreign, f"corpus.accents: {', '.join(foreign)}: not of corpus.language {self.language!r}; {remedy}"
        )


def split_words(text: str) -> list[str]:
    """Words as they are given on a command line: commas between them, but for those in a pronunciation."""
    parts = re.split(r"(\[\[.*?\]\])", text)  # every other one is a pronunciation, in which a comma is a stress mark
    marked = "".join(part if n % 2 else part.replace(",", "\0") for n, part in enumerate(parts))
    return [word.strip() for word in marked.split("\0")]


def _parse(entry: str) -> tuple[str, str]:
    """A word and its pronunciation, empty where none is given."""
    word, mark, rest = entry.strip().partition("[[")
    phonemes, end, after = rest.partition("]]")
    is_whole = bool(end) and phonemes.strip() != "" and phonemes.isprintable() and after == ""
    is_plain = not mark and "]]" not in word
    require(is_whole or is_plain, f"corpus.keywords: {entry!r}: write a word and how it is said as lamp [[l'amp]]")
    return word.strip(), f"[[{phonemes.strip()}]]" if mark else ""


def _primary(tag: str) -> str:
    return tag.lower().partition("-")[0]


def _check_words(place: str, words: Sequence[str]) -> list[str]:
    """Refuse a list with a word that can't be one, or that is in it twice; each word as two are compared."""
    for word in words:
        require(word.strip() != "", f"{place}: a word is empty; remove it from the list")
        require(word.isprintable(), f"{place}: {word!r} holds a character that can't be printed; remove it")
        require(word not in RESERVED, f"{place}: {word} has a meaning of its own here; name the word otherwise")
    folded = [word.strip().casefold() for word in words]
    repeated = [word for word, plain in zip(words, folded, strict=True) if folded.count(plain) > 1]
    require(not repeated, f"{place}: {', '.join(repeated)}: one word twice; remove one")
    return folded


@dataclass(frozen=True)
class Features(Section):
    """Mel-frequency cepstral coefficients, as librosa computes them."""

    window_ms: int = number(25, 1, 1_000)
    hop_ms: int = number(20, 1, 1_000)
    n_fft: int = number(512, 16, 65_536)
    n_mels: int = number(40, 1, 1_024)
    n_mfcc: int = number(40, 1, 1_024)
    f_min_hz: float = number(20.0, 0, 96_000)
    f_max_hz: float = number(7_600.0, 1, 96_000)
    shard_clips: int = number(512, 1, 100_000)  # clips (each with its augmented copies) in one file

    def check(self) -> None:
        require(self.n_fft & (self.n_fft - 1) == 0, f"features.n_fft is {self.n_fft}; give a power of two")
        require(self.n_mfcc <= self.n_mels, f"features.n_mfcc is {self.n_mfcc}; give at most n_mels, {self.n_mels}")
        require(self.f_min_hz < self.f_max_hz, "features.f_min_hz must be below f_max_hz")

    def hop_samples(self, audio: Audio) -> int:
        return exact_div(audio.sample_rate_hz * self.hop_ms, 1000, "audio.sample_rate_hz * features.hop_ms / 1000")

    def window_samples(self, audio: Audio) -> int:
        what = "audio.sample_rate_hz * features.window_ms / 1000"
        samples = exact_div(audio.sample_rate_hz * self.window_ms, 1000, what)
        fits = samples <= self.n_fft
        require(fits, f"features.window_ms is {samples} samples; features.n_fft, {self.n_fft}, must hold them")
        return samples

    def frames(self, audio: Audio) -> int:
        """Number of MFCC frames in one clip; none is padded."""
        fits = audio.clip_samples >= self.n_fft
        require(fits, f"audio.clip_ms is {audio.clip_ms}; a clip must hold one frame of {self.n_fft} samples")
        return 1 + (audio.clip_samples - self.n_fft) // self.hop_samples(audio)


@dataclass(frozen=True)
class Augment(Section):
    """Changed copies of the training clips; each range is drawn from evenly, each time anew."""

    copies: int = number(3, 0, 1_000)
    shift_ms: int = number(250, 0, 60_000)  # of a word's middle from the window's; 0: each stays where it is
    speed_percent: float = number(15.0, 0, 49)
    room_probability: float = number(0.4, 0, 1)
    equaliser_probability: float = number(0.6, 0, 1)
    equaliser_db: float = number(10.0, 0, 60)
    gain_db: float = number(8.0, 0, 60)
    noise_probability: float = number(0.8, 0, 1)
    min_snr_db: float = number(0.0, -60, 120)
    max_snr_db: float = number(40.0, -60, 120)
    # Windows of no word, which a stream is full of; learnt as unknown.
    fragments: int = number(2, 0, 1_000)  # for each word: its end, the beginning of another, or both
    talk_percent: float = number(33.0, 0, 10_000)  # windows of talk, to a hundred of words and their copies
    seed: int = number(2, 0, MAX_SEED)

    def check(self) -> None:
        require(self.min_snr_db <= self.max_snr_db, "augment.min_snr_db is above max_snr_db")


@dataclass(frozen=True)
class Model(Section):
    """The bidirectional LSTM classifier."""

    conv_filters: tuple[int, ...] = number((24, 32, 48), 1, 4_096)  # of each layer; each halves the frequencies
    conv_frames: int = number(5, 1, 1_000)  # of the first layer
    conv_stride: int = number(2, 1, 100)  # of the first layer over time
    projection_units: int = number(80, 1, 4_096)
    lstm_units: tuple[int, ...] = number((64, 48), 1, 4_096)
    attention_units: int = number(48, 1, 4_096)
    dropout: float = number(0.3, 0, 0.9)

    def check(self) -> None:
        for name in ("conv_filters", "lstm_units"):
            require(len(getattr(self, name)) > 0, f"model.{name} is empty; give one layer at least")


@dataclass(frozen=True)
class Train(Section):
    epochs: int = number(24, 1, 100_000)
    batch_clips: int = number(128, 1, 100_000)
    learning_rate: float = number(2e-3, 1e-9, 10)
    weight_decay: float = number(1e-3, 0, 1)
    label_smoothing: float = number(0.05, 0, 0.9)
    # Changes of the MFCC, drawn anew in each epoch.
    warp_percent: float = number(10.0, 0, 50)  # of every frequency: another length of the vocal tract
    stretch_percent: float = number(15.0, 0, 50)  # of the time: another tempo
    mask_frames: int = number(16, 0, 10_000)  # SpecAugment: the longest run of frames that is hidden
    mask_coefficients: int = number(12, 0, 1_024)
    patience_epochs: int = number(8, 1, 100_000)
    mixed_precision: bool = False
    seed: int = number(3, 0, MAX_SEED)


@dataclass(frozen=True)
class Quantize(Section):
    calibration_clips: int = number(500, MIN_CALIBRATION_CLIPS, 100_000)
    sparsity_percent: float = number(0.0, 0, 99)  # of the kernels, pruned before they are clustered; 0: neither
    clusters: int = number(16, 2, 256)
    epochs: int = number(4, 1, 10_000)  # of training after pruning, and again after clustering
    learning_rate: float = number(5e-4, 1e-9, 10)
    seed: int = number(4, 0, MAX_SEED)


@dataclass(frozen=True)
class Listen(Section):
    """When a word counts as heard, in sound that goes on."""

    hop_ms: int = number(100, 10, 1_000)  # a window is scored at each hop, and scores are averaged
    smoothing_ms: int = number(700, 10, 10_000)
    rest_ms: int = number(700, 0, 60_000)  # after a word nothing is heard for so long
    gate_dbfs: float = number(-60.0, -120, 0)  # a window whose loudest sample is below is silence, and isn't scored

    def check(self) -> None:
        require(self.smoothing_hops > 0, f"listen.smoothing_ms is {self.smoothing_ms}; give at least hop_ms")
        _ = self.rest_hops  # refuses what doesn't divide

    @property
    def smoothing_hops(self) -> int:
        return exact_div(self.smoothing_ms, self.hop_ms, "listen.smoothing_ms / hop_ms")

    @property
    def rest_hops(self) -> int:
        return exact_div(self.rest_ms, self.hop_ms, "listen.rest_ms / hop_ms")

    def hop_samples(self, audio: Audio) -> int:
        return exact_div(audio.sample_rate_hz * self.hop_ms, 1000, "audio.sample_rate_hz * listen.hop_ms / 1000")


@dataclass(frozen=True)
class Streams(Section):
    """Sound that goes on, made of the clips of a split: thresholds are chosen on it, and figures are of it."""

    false_alarms_per_hour: float = number(1.0, 0, 10_000)  # at most so many of all words together, when none is said
    snr_db: tuple[float, ...] = number((20.0, 10.0), -60, 120)  # of words to background noise, a stream for each
    negative: str = ""  # folder of recordings in which no keyword is said: half are to tune on, half to test on
    seed: int = number(5, 0, MAX_SEED)

    def check(self) -> None:
        require(len(self.snr_db) > 0, "streams.snr_db is empty; give one ratio at least")


@dataclass(frozen=True)
class Personalise(Section):
    """A finished build's network, trained on with a few takes of a speaker's own."""

    bundle: str = ""  # of the build to start from; empty: the build starts from nothing
    source: str = ""  # folder of the takes
    copies: int = number(30, 0, 1_000)  # changed copies of each take
    takes_percent: float = number(25.0, 1, 99)  # of an epoch's windows; the others are the first corpus's, drawn anew
    epochs: int = number(20, 1, 100_000)
    learning_rate: float = number(5e-4, 1e-9, 10)  # at the beginning; it falls to a hundredth
    seed: int = number(6, 0, MAX_SEED)  # of which takes are left out, too

    def check(self) -> None:
        has_takes, has_bundle = self.source != "", self.bundle != ""
        require(has_takes or not has_bundle, "personalise.source: no takes are given; set SOURCE to a folder")
        require(has_bundle or not has_takes, "personalise.bundle: none is given; set BUNDLE to a folder")


@dataclass(frozen=True)
class Memory(Section):
    """Recurrent networks of equal size, trained to see how long each remembers."""

    parameters: int = number(13_000, 200, 1_000_000)  # of each network, as nearly as whole units go
    gap_steps: tuple[int, ...] = number((10, 20, 40), 1, 10_000)  # of noise between what is to be known and the end
    gap_updates: int = number(300, 1, 1_000_000)
    corpus_updates: int = number(1_000, 1, 1_000_000)
    batch_examples: int = number(32, 1, 100_000)
    learning_rate: float = number(0.1, 1e-9, 10)
    clip_norm: float = number(1.0, 1e-9, 1e9)  # of the whole gradient, in the half of the trainings that is clipped
    gate_bias: float = number(4.0, -20, 20)  # of the gates that keep the state, before training; 4: they keep 98 %
    large_gain: float = number(1.5, 1e-3, 100)  # of the recurrent weights that explode, to those of Keras
    seeds: int = number(3, 1, 100)  # trainings of each network, from `seed` on
    seed: int = number(6, 0, MAX_SEED - 100)

    def check(self) -> None:
        require(len(self.gap_steps) > 0, "memory.gap_steps is empty; give one gap at least")
        repeated = len(set(self.gap_steps)) < len(self.gap_steps)
        require(not repeated, "memory.gap_steps has one gap twice; remove one")


@dataclass(frozen=True)
class Report(Section):
    """The page at the end."""

    voices: bool = True  # false leaves out sound, speakers and file names, for a page that is shared


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
    streams: Streams = field(default_factory=Streams)
    personalise: Personalise = field(default_factory=Personalise)
    memory: Memory = field(default_factory=Memory)
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self.features.frames(self.audio)
        self.features.window_samples(self.audio)
        nyquist_hz = self.audio.sample_rate_hz / 2
        require(
            self.features.f_max_hz <= nyquist_hz, f"features.f_max_hz is above half the sample rate, {nyquist_hz:g}"
        )
        shift_ms, clip_ms = self.augment.shift_ms, self.audio.clip_ms
        require(shift_ms < clip_ms, f"augment.shift_ms is {shift_ms}; it must be below audio.clip_ms, {clip_ms}")

    @property
    def hears_no_people(self) -> bool:
        """Whether all that is learnt is said by synthetic voices."""
        return self.corpus.kind == "synthetic" and not self.personalise.source

    def section(self, name: str) -> dict[str, Any]:
        """One section as plain JSON types."""
        values = dataclasses.asdict(getattr(self, name))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


SECTIONS: dict[str, type] = {f.name: typing.cast(type, f.default_factory) for f in dataclasses.fields(Settings)}


def load(path: Path | None = None, **given: Mapping[str, Any]) -> Settings:
    """Read a settings file over the defaults.

    Parameters
    ----------
    path
        TOML file; None for the defaults.
    given
        Values of a section, such as `corpus`, given on the command line or by `make`; they win over the file.

    Raises
    ------
    SettingsError
        For an unreadable file, an unknown section or key, a value of the wrong type or out of range.
    """
    overlay = _read(path) if path else {}
    try:
        if unknown := sorted(overlay.keys() - SECTIONS.keys()):
            raise SettingsError(f"unknown section [{unknown[0]}]; known: {', '.join(SECTIONS)}")
        for name, values in given.items():  # before anything is checked: one key may rule out another
            require_section(name, of_file := overlay.get(name, {}))
            overlay[name] = {**of_file, **values}
        return Settings(**{name: build_section(name, values) for name, values in overlay.items()})
    except SettingsError as error:
        raise SettingsError(f"{path or 'settings'}: {error}") from None


def load_personal(path: Path | None, base: Mapping[str, Any], bundle: str, source: str) -> Settings:
    """The settings that a build was made by, with the sections [personalise] and [report] over them.

    Parameters
    ----------
    path
        TOML file with these sections alone; None for their defaults.
    base
        Sections of the build, as its receipts have them.
    bundle, source
        As in `Personalise`.

    Raises
    ------
    SettingsError
        As `load`, and if the file has another section.
    """
    overlay = _read(path) if path else {}
    try:
        if others := sorted(overlay.keys() - {"personalise", "report"}):
            raise SettingsError(f"section [{others[0]}]: it is as BUNDLE was made; give [personalise] or [report]")
        given = {**overlay.get("personalise", {}), "bundle": bundle, "source": source}
        sections = {**base, **overlay, "personalise": given}
        return Settings(**{name: build_section(name, values) for name, values in sections.items()})
    except SettingsError as error:
        raise SettingsError(f"{path or 'settings'}: {error}") from None


def sets(path: Path | None, section: str, key: str) -> bool:
    """Whether a settings file that `load` has read says something of a key."""
    return path is not None and key in _read(path).get(section, {})


def require_section(name: str, values: Any) -> None:
    """Refuse what is no section but a value by its name."""
    require(isinstance(values, Mapping), f"{name} must be a section, [{name}]")


def build_section(name: str, values: Any) -> Any:
    """One section from plain TOML or JSON values, every key and type checked."""
    require_section(name, values)
    types = typing.get_type_hints(SECTIONS[name])
    if unknown := sorted(values.keys() - types.keys()):
        raise SettingsError(f"unknown key {name}.{unknown[0]}; known: {', '.join(types)}")
    return SECTIONS[name](**{key: _typed(f"{name}.{key}", value, types[key]) for key, value in values.items()})


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
