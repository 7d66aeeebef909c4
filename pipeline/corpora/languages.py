"""What there is to say in a language, and by whom: accents of eSpeak NG, and words of every sort."""

from __future__ import annotations

import functools
import re
import unicodedata
from importlib import resources

from pipeline.config import Corpus
from pipeline.corpora import espeak
from pipeline.errors import CorpusError, MissingExtra

# eSpeak NG's voices of English but that for the Shavian alphabet, the first being the one that words are shown in.
ENGLISH = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
# What stands between the others in running speech, and about how often.
ENGLISH_LITTLE = (
    "a", "all", "and", "are", "at", "be", "but", "by", "can", "for", "have", "he", "I", "if", "in", "is", "it", "me",
    "my", "of", "she", "so", "some", "that", "the", "then", "there", "they", "this", "was", "we", "what", "when",
    "with", "would", "you", "your",
)  # fmt: skip
# In other languages numbers stand there: every voice reads these, as words that are short and common.
NUMBERS = tuple(str(number) for number in range(21))
LEAST_WORDS = 100
LETTERS = (2, 12)  # of a word that is taken from names


def accents(corpus: Corpus) -> tuple[str, ...]:
    """Voices to speak with, without their variants: those that the settings name, else all of the language.

    Raises
    ------
    CorpusError
        If eSpeak NG has no voice of the language.
    MissingExtra
        If eSpeak NG isn't installed.
    """
    return corpus.accents or of_language(corpus.language)


def of_language(language: str) -> tuple[str, ...]:
    """All accents of a language, the plain one first; raises as `accents` does."""
    tag, known = language.lower(), espeak.voices()
    if tag == "en":
        return ENGLISH
    own = sorted(name for name in known if name == tag or name.startswith(f"{tag}-"))
    if not own:
        other_names = sorted(name for name, tags in known.items() if tag in tags)
        languages = sorted({name.partition("-")[0] for name in known})
        remedy = f"set it to {' or '.join(other_names)}" if other_names else f"it speaks {' '.join(languages)}"
        raise CorpusError(f"corpus.language: eSpeak NG has no voice for {language!r}; {remedy}")
    # Four letters in a tag are a script (BCP 47): such a voice reads the same words in other letters.
    return tuple(name for name in own if not re.search("-[a-z]{4}(-|$)", name)) or tuple(own)


def vocabulary(language: str = "en") -> list[str]:
    """Words other than keywords, of varied sounds: common ones in English, else out of names in the language.

    Unicode's locale data (CLDR) name countries, languages, scripts, currencies, months and days. Where they are not
    translated, voices read the English words by their own rules.

    Raises
    ------
    MissingExtra
        If Babel isn't installed.
    """
    words = [] if is_english(language) else _words_of_names(language)
    if len(words) >= LEAST_WORDS:
        return words
    return (resources.files("pipeline.corpora") / "vocabulary.txt").read_text(encoding="utf-8").split()


def little_words(language: str) -> tuple[str, ...]:
    """What stands between other words in sentences."""
    return ENGLISH_LITTLE if is_english(language) else NUMBERS


def is_written_in_latin(language: str) -> bool:
    """Whether a language has Latin letters, as far as its names tell."""
    letters = "".join(_words_of_names(language)) if not is_english(language) else "a"
    return sum(map(is_latin, letters)) > len(letters) / 2


def is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")


def is_read_as_another(phonemes: str) -> bool:
    """Whether eSpeak NG falls back on another language for letters that it can't read, and often only names these."""
    return "(" in phonemes  # it writes (en)lamp(ru)


def is_english(language: str) -> bool:
    return language.lower().partition("-")[0] == "en"


@functools.cache
def _words_of_names(language: str) -> list[str]:
    """Words of what CLDR names in a language; none where it doesn't know the language."""
    try:
        from babel import Locale, UnknownLocaleError
    except ImportError:
        extra = "pip install 'speech-command-pipeline[synthesis]'"
        raise MissingExtra(f"words in another language than English need Babel; run: {extra}") from None
    for tag in (language.lower(), *espeak.voices().get(of_language(language)[0], ())):
        try:
            locale = Locale.parse(tag.replace("-", "_"))
        except (ValueError, UnknownLocaleError):
            continue
        tables = [locale.territories, locale.languages, locale.scripts, locale.currencies]
        tables += [locale.months["stand-alone"]["wide"], locale.days["stand-alone"]["wide"]]
        words = {word for table in tables for name in table.values() for word in _words(name)}
        return sorted(words)
    return []


def _words(name: str) -> list[str]:
    """Words of a name that are neither letters by themselves nor too long for a window."""
    marked = "".join(sign if unicodedata.category(sign)[0] in "LM" or sign in "'’-" else " " for sign in name)
    words = (word.strip("'’-") for word in marked.split())
    return [word for word in words if LETTERS[0] <= len(word) <= LETTERS[1] and not (word.isupper() and len(word) < 6)]
