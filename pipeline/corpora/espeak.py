"""eSpeak NG, called in this process through ctypes.

The library is GPL-3 and comes with an extra of its own, so it is imported only when speech is asked for. It keeps
one global state: a process holds one `ESpeak`, and what it says may depend on what it said before.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from pathlib import Path
from types import ModuleType

import numpy as np

from pipeline.device.audio import Samples
from pipeline.errors import CorpusError, MissingExtra

# Variants that don't sound like people, or that garble most words.
_UNUSABLE = {
    "AnxiousAndy", "Demonic", "Gene2", "Henrique", "Storm", "Tweaky", "UniRobot", "anikaRobot", "croak", "fast",
    "klatt", "klatt5", "klatt6", "miguel", "robosoft", "robosoft2", "robosoft3", "robosoft4", "robosoft5",
    "robosoft6", "robosoft7", "robosoft8", "steph2", "steph3", "whisper", "whisperf",
}  # fmt: skip

# Constants of eSpeak NG's speak_lib.h.
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: audio goes to the callback before espeak_Synth returns
_DONT_EXIT = 0x8000  # of espeak_Initialize
_UTF8 = 1
_PHONEME_INPUT = 0x100  # of espeak_Synth: what stands in [[ ]] is phonemes, also for what is asked of the text later
_IPA = 2
_BETWEEN = "\x1f"  # what eSpeak NG is asked to put between phonemes; it is in no notation
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4
_VOLUME_PERCENT = 50  # at 100 the loudest voices clip

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


_PAUSE = "_:"  # a phoneme of every voice


def variants() -> list[str]:
    """Names of the voice variants that sound like people, sorted.

    Raises
    ------
    MissingExtra
        If eSpeak NG isn't installed.
    """
    return sorted(path.name for path in _variant_folder().iterdir() if path.name not in _UNUSABLE)


@functools.cache
def voices() -> dict[str, tuple[str, ...]]:
    """Names of the voices, in lower case, and the language tags that each answers to.

    Raises
    ------
    MissingExtra
        If eSpeak NG isn't installed.
    """
    data, found = Path(_loader().get_data_path()), {}
    for path in sorted(path for path in (data / "lang").rglob("*") if path.is_file()):
        text, name = path.read_text(encoding="utf-8"), path.name.lower()
        named = re.search(r"^dictionary\s+(\S+)", text, re.MULTILINE)
        dictionary = named[1] if named else name.partition("-")[0]
        if (data / f"{dictionary}_dict").is_file():  # without, a voice knows no rule of reading
            found[name] = tuple(tag.lower() for tag in re.findall(r"^language\s+(\S+)", text, re.MULTILINE))
    return found


class ESpeak:
    """The synthesiser of this process.

    Raises
    ------
    MissingExtra
        If eSpeak NG isn't installed.
    CorpusError
        If the library can't be loaded on this machine.
    """

    def __init__(self) -> None:
        loader = _loader()
        try:
            library = ctypes.CDLL(loader.get_library_path())
        except OSError as error:
            raise CorpusError(
                f"eSpeak NG can't be loaded here: {error}; "
                "use CORPUS=speech_commands or folder, and PARAMS with [corpus] sentences = 0"
            ) from None
        library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p,
        ]  # fmt: skip
        library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._library = library
        self._heard: list[bytes] = []
        self._callback = _Callback(self._hear)  # the library keeps only a pointer to it
        self.sample_rate_hz: int = library.espeak_Initialize(
            _SYNCHRONOUS, 0, os.fsencode(loader.get_data_path()), _DONT_EXIT
        )
        if self.sample_rate_hz <= 0:
            raise CorpusError("eSpeak NG doesn't start; run: pip install --force-reinstall espeakng-loader")
        library.espeak_SetSynthCallback(self._callback)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the noise of breath would follow the time of day

    def set_voice(self, accent: str, variant: str) -> None:
        """Speak as `accent` (such as `en-us`) with the voice of `variant` from now on.

        Raises
        ------
        CorpusError
            If eSpeak NG has no such accent or variant.
        """
        # For an unknown variant the library would quietly take the plain voice.
        if not (_variant_folder() / variant).is_file():
            raise CorpusError(f"eSpeak NG has no voice variant {variant!r}")
        if self._library.espeak_SetVoiceByName(f"{accent}+{variant}".encode()):
            raise CorpusError(f"corpus.accents: eSpeak NG has no accent {accent!r}; remove it from the list")

    def say(self, text: str, *, rate_wpm: int, pitch: int, pitch_range: int) -> Samples:
        """Sound of a text.

        Parameters
        ----------
        text
            Words, or phonemes in [[ ]].
        rate_wpm
            Words a minute in running speech, 80 to 450.
        pitch, pitch_range
            0 to 99, 50 is the voice's own.

        Returns
        -------
        samples
            float32 `(samples,)` in [-1, 1), at `sample_rate_hz`; silence, or none, for a text without sound.
        """
        values = {_RATE: rate_wpm, _VOLUME: _VOLUME_PERCENT, _PITCH: pitch, _PITCH_RANGE: pitch_range}
        for parameter, value in values.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._synthesise(text)
        return np.frombuffer(b"".join(self._heard), np.int16).astype(np.float32) / np.float32(32768)

    def transcribe(self, text: str, *, ipa: bool = True) -> tuple[str, ...]:
        """Phonemes of a text in this voice, `ˈ` or `ˌ` before a stressed one, and a space between words.

        Parameters
        ----------
        text
            Words, or phonemes in [[ ]].
        ipa
            In the International Phonetic Alphabet; else as eSpeak NG writes them (`'` and `,` for stress).
        """
        if text.startswith("[["):
            self._synthesise("", _PHONEME_INPUT)  # from here on, TextToPhonemes takes them too
        rest = ctypes.c_char_p(text.encode())
        mode = (ord(_BETWEEN) << 8) | (_IPA if ipa else 0)
        clauses = []
        while rest.value is not None:  # the library moves the pointer on, to null at the end
            clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, mode).decode())
        self._synthesise("")
        return tuple(" ".join(clauses).replace(" ", f"{_BETWEEN} {_BETWEEN}").split(_BETWEEN))

    def phonemes(self, text: str) -> str:
        """Sounds of a text in this voice, in the International Phonetic Alphabet without stress marks."""
        return "".join(self.transcribe(text)).translate({ord("ˈ"): None, ord("ˌ"): None})

    def knows(self, phonemes: str) -> bool:
        """Whether this voice has every phoneme of `[[...]]`: the library drops what follows one that it doesn't."""
        words = phonemes.removeprefix("[[").removesuffix("]]").split()
        heard = [[self.transcribe(f"[[{word}{end}]]", ipa=False) for end in ("", _PAUSE)] for word in words]
        return all(without != with_pause for without, with_pause in heard)

    def _synthesise(self, text: str, more: int = 0) -> None:
        self._heard.clear()
        encoded = text.encode() + b"\0"
        flags = _UTF8 | (_PHONEME_INPUT if text.startswith("[[") else more)
        if self._library.espeak_Synth(encoded, len(encoded), 0, 1, 0, flags, None, None):
            raise CorpusError(f"eSpeak NG fails on {text!r}; leave that word out")

    def _hear(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        if samples and count > 0:
            self._heard.append(ctypes.string_at(samples, count * 2))  # a copy: the library uses the buffer again
        return 0


def _loader() -> ModuleType:
    try:
        import espeakng_loader
    except ImportError:
        extra = "pip install 'speech-command-pipeline[synthesis]'"
        raise MissingExtra(f"synthetic speech needs eSpeak NG; run: {extra}") from None
    loader: ModuleType = espeakng_loader
    return loader


def _variant_folder() -> Path:
    return Path(_loader().get_data_path()) / "voices" / "!v"
