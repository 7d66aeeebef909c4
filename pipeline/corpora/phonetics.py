"""How far apart two pronunciations are, by what the mouth does in each sound.

The table is the chart of the International Phonetic Association (2020), as far as eSpeak NG writes it. A sound is a
consonant with a place, a manner and a voice, or a vowel with a height, a backness and rounded or unrounded lips; two
are the further apart the more of that differs. Words are aligned as in Levenshtein's distance (1966), a changed sound
costing at most 1, one that is put in or left out 1, or half of that where ears often miss it.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Lips to throat, voiceless and voiced in turn; a dot where there is no sign, or it is another's.
_CONSONANTS = {
    "stop": "pb..tdʈɖcɟkɡqɢʔ.",
    "nasal": ".m.ɱ.n.ɳ.ɲ.ŋ.ɴ..",
    "trill": ".ʙ...r.......ʀ..",
    "tap": "...ⱱ.ɾ.ɽ........",
    "fricative": "ɸβfvszʂʐçʝxɣχʁhɦ",
    "hush": "....ʃʒɕʑ........",
    "dental": "...ᵛθð..........",
    "lateral": "....ɬl.ɭ.ʎ.ʟ....",
    "approximant": ".w.ʋ.ɹ.ɻ.j.ɰ.ʕ..",
}
_OTHER_SIGNS = {
    "g": "ɡ",
    "ɫ": "l",
    "ʍ": "w",
    "ɥ": "j",
    "ħ": "χ",
    "ɮ": "ɬ",
    "ɚ": "ə",
    "ɝ": "ɜ",
    "ɧ": "ʃ",
    "ɺ": "ɾ",
    "ᵻ": "ɨ",
}
_MANNERS = {  # how near one is to another, from a stop to a vowel; hissing, hushing and lisping are a step apart
    "stop": 0.0, "nasal": 1.4, "fricative": 1.0, "hush": 1.3, "dental": 0.7, "tap": 1.8, "trill": 2.0, "lateral": 2.2,
    "approximant": 2.4,
}  # fmt: skip
# Close to open; front, central and back, unrounded and rounded in turn.
_VOWELS = ("iyɨʉɯu", "ɪʏ...ʊ", "eøɘɵɤo", "..ə...", "ɛœɜɞʌɔ", "æ.ɐ...", "aɶ..ɑɒ")
_OFTEN_MISSED = frozenset("əɪʊjwhʔɦ")

ALIKE = 0.25  # share of their sounds; lamp and lamb, or light and night, are no further apart

_PLACE, _MANNER, _VOICE = 0.5, 0.6, 0.2
_HEIGHT, _BACKNESS, _LIPS = 0.8, 0.4, 0.2
_MARK = 0.1  # a long, nasal, palatal ... sound beside a plain one
_GLIDE = 0.3  # from a vowel to its consonant, as from i to j
_GLIDES = {frozenset("ij"), frozenset("uw"), frozenset("ɪj"), frozenset("ʊw")}


@dataclass(frozen=True)
class Sound:
    """A sign of the alphabet and what modifies it, such as length, or the digit of a tone."""

    sign: str
    marks: frozenset[str]


def sounds(ipa: str) -> list[Sound]:
    """The sounds of a transcription, without stress and spaces; `eɪ` and `tʃ` are two each."""
    found: list[Sound] = []
    for sign in unicodedata.normalize("NFD", ipa):
        if sign == "\N{COMBINING CEDILLA}" and found and found[-1].sign == "c":  # the one sign that has parts
            found[-1] = Sound("ç", found[-1].marks)
        elif sign.isalpha() and unicodedata.category(sign) != "Lm":
            found.append(Sound(_OTHER_SIGNS.get(sign, sign), frozenset()))
        elif found and (sign.isdigit() or unicodedata.category(sign) in ("Lm", "Mn")) and sign not in "ˈˌ":
            found[-1] = Sound(found[-1].sign, found[-1].marks | {sign})
    return found


def distance(one: str, other: str) -> float:
    """Changes from one transcription to another, in sounds: 0 for the same, 1 for a sound put in or left out."""
    return _align(sounds(one), sounds(other))


def relative_distance(one: str, other: str) -> float:
    """The same as a share of the longer one's sounds, 0 to 1."""
    return distance(one, other) / max(len(sounds(one)), len(sounds(other)), 1)


def alike(ipa: Mapping[str, Sequence[str]]) -> list[tuple[str, str, float]]:
    """Pairs of words that are close to each other in any accent, the closest first, with their relative distance.

    Parameters
    ----------
    ipa
        Of each word, how every accent says it, in the same order of accents.
    """
    pairs = [
        (one, other, min(map(relative_distance, ipa[one], ipa[other]))) for one, other in itertools.combinations(ipa, 2)
    ]
    return sorted((pair for pair in pairs if pair[2] <= ALIKE), key=lambda pair: pair[2])


def is_vowel(ipa: str) -> bool:
    """Whether the first sound of a transcription is a vowel."""
    first = sounds(ipa)[:1]
    return bool(first) and first[0].sign in _vowels()


def _align(one: Sequence[Sound], other: Sequence[Sound]) -> float:
    before = [0.0]
    for sound in other:
        before.append(before[-1] + _left_out(sound))
    for mine in one:
        row = [before[0] + _left_out(mine)]
        for column, theirs in enumerate(other):
            changed = before[column] + _changed(mine, theirs)
            row.append(min(changed, before[column + 1] + _left_out(mine), row[-1] + _left_out(theirs)))
        before = row
    return before[-1]


def _left_out(sound: Sound) -> float:
    return 0.5 if sound.sign in _OFTEN_MISSED else 1.0


def _changed(one: Sound, other: Sound) -> float:
    marks = min(len(one.marks ^ other.marks) * _MARK, 2 * _MARK)
    return min(1.0, _between(one.sign, other.sign) + marks)


@functools.cache
def _between(one: str, other: str) -> float:
    """How far two plain sounds are apart, 0 to 1; a sign that no table has is far from any other."""
    if one == other:
        return 0.0
    if frozenset((one, other)) in _GLIDES:
        return _GLIDE
    for table, weights in ((_vowels(), (_HEIGHT, _BACKNESS, _LIPS)), (_consonants(), (_PLACE, _MANNER, _VOICE))):
        if one in table and other in table:
            pairs = zip(table[one], table[other], weights, strict=True)
            return min(1.0, sum(weight * abs(a - b) for a, b, weight in pairs))
    return 1.0


@functools.cache
def _vowels() -> dict[str, tuple[float, float, float]]:
    """Height and backness from 0 to 1, and 1 for rounded lips."""
    return {
        sign: (row / 6, column // 2 / 2, column % 2)
        for row, signs in enumerate(_VOWELS)
        for column, sign in enumerate(signs)
        if sign != "."
    }


@functools.cache
def _consonants() -> dict[str, tuple[float, float, float]]:
    """Place, 0 at the lips and 1 where the back of the tongue rises, manner, and 1 for voiced."""
    return {
        sign: (column // 2 / 4, _MANNERS[manner], column % 2)
        for manner, signs in _CONSONANTS.items()
        for column, sign in enumerate(signs)
        if sign != "."
    }
