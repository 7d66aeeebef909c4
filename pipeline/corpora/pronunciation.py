"""How the keywords of synthetic speech will be said: looked up, checked, and changed by a sound or two."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import TEN_WORDS, Corpus, Settings
from pipeline.corpora import espeak, languages, phonetics, voices
from pipeline.corpora.manifest import TRAINING
from pipeline.corpora.noise import seeded
from pipeline.corpora.process import in_fresh_process
from pipeline.device.listing import as_table
from pipeline.errors import CorpusError

FEW_SOUNDS = 3  # with fewer a word is in much of what people say; a diphthong counts as two
SLOWEST = sum(voices.ALONE_WPM) / 2 / voices.ALONE_WPM[0]  # how much longer than usual the slowest take is
VOICES_TIMED = 9  # some are slower than others
WINDOW_STEP_MS = 100
LONGEST_WINDOW_MS = 3_000

NEAR_WORDS = 20  # of each keyword in each accent
LEAST_CHANGE, MOST_CHANGE = 0.4, 2.0  # in sounds; nearer ones another speaker may well say for the keyword itself
_TRIALS = 400
_LEAST_COUNT = 3  # a phoneme that is rarer in the vocabulary is not the language's own


@dataclass(frozen=True)
class Spoken:
    """How a keyword is said.

    `ipa` is by accent. `phonemes`, in eSpeak NG's own notation, and `length_ms`, the median of a few voices at the
    usual tempo, are those of the first accent.
    """

    ipa: dict[str, str]
    phonemes: str
    length_ms: float


Spelling = Mapping[str, str]  # keyword → what eSpeak NG is given, the word itself or phonemes in [[ ]]


def spelling(corpus: Corpus) -> dict[str, str]:
    """What eSpeak NG is given for each keyword."""
    return {word: corpus.pronunciations.get(word, word) for word in corpus.words or TEN_WORDS}


def look_up(settings: Settings) -> dict[str, Spoken]:
    """How each keyword is said in each accent; a process of its own asks eSpeak NG.

    Raises
    ------
    CorpusError
        If eSpeak NG has no such voice, or doesn't know a phoneme that it is given.
    MissingExtra
        If eSpeak NG isn't installed.
    """
    corpus = settings.corpus
    accents, variants = languages.accents(corpus), voices.cast(corpus)[TRAINING][:VOICES_TIMED]
    return in_fresh_process(voices.clean_context(), voices.BROKEN_OFF, _look_up, spelling(corpus), accents, variants)


def _look_up(spelling: Spelling, accents: Sequence[str], variants: Sequence[str]) -> dict[str, Spoken]:
    speaker = espeak.ESpeak()
    ipa: dict[str, dict[str, str]] = {word: {} for word in spelling}
    for accent in accents:
        speaker.set_voice(accent, variants[0])
        for word, text in spelling.items():
            if text.startswith("[[") and not speaker.knows(text):
                known = "".join(speaker.transcribe(text, ipa=False))
                raise CorpusError(
                    f"corpus.keywords: {word} {text}: the voice {accent} knows no phoneme after {known!r}; "
                    "write it with those that are shown for other words"
                )
            ipa[word][accent] = "".join(speaker.transcribe(text))
    speaker.set_voice(accents[0], variants[0])
    phonemes = {word: "".join(speaker.transcribe(text, ipa=False)) for word, text in spelling.items()}
    lengths_ms: dict[str, list[float]] = {word: [] for word in spelling}
    for variant in variants:
        speaker.set_voice(accents[0], variant)
        for word, text in spelling.items():
            sound = speaker.say(text, rate_wpm=sum(voices.ALONE_WPM) // 2, pitch=50, pitch_range=50)
            lengths_ms[word].append(1000 * len(voices.trim(sound, speaker.sample_rate_hz)) / speaker.sample_rate_hz)
    return {word: Spoken(ipa[word], phonemes[word], statistics.median(lengths_ms[word])) for word in spelling}


def with_window(settings: Settings) -> Settings:
    """The settings, with a window as wide as the longest keyword of one's own when it is said slowly.

    A word that is longer than the widest window allowed is left to the warning of `check`.
    """
    longest_ms = max(spoken.length_ms for spoken in look_up(settings).values()) * SLOWEST
    steps = -(-min(longest_ms, LONGEST_WINDOW_MS) // WINDOW_STEP_MS)
    clip_ms = max(settings.audio.clip_ms, int(steps) * WINDOW_STEP_MS)
    return dataclasses.replace(settings, audio=dataclasses.replace(settings.audio, clip_ms=clip_ms))


def lines(said: dict[str, Spoken], settings: Settings) -> Iterator[str]:
    """What a person must know before the voices begin: how each word will be said, and the window if it isn't usual."""
    accent = languages.accents(settings.corpus)[0]
    yield f"as {accent} says them; where one is wrong, write it with eSpeak NG's phonemes, as lamp [[l'amp]]:"
    rows = [(f"  {word}", spoken.ipa[accent], f"[[{spoken.phonemes}]]") for word, spoken in said.items()]
    yield from as_table(rows).splitlines()
    usual_ms, clip_ms = type(settings.audio)().clip_ms, settings.audio.clip_ms
    if clip_ms > usual_ms:
        longest = max(said, key=lambda word: said[word].length_ms)
        yield (
            f"audio.clip_ms: a window of {clip_ms} ms instead of {usual_ms}, for {longest!r}, "
            f"which lasts about {said[longest].length_ms:.0f} ms and more when it is said slowly"
        )


def check(said: dict[str, Spoken], settings: Settings) -> list[str]:
    """Refuse keywords that can't be said or told apart; warn of those that are too short, too long, or alike.

    Raises
    ------
    CorpusError
        If a word has no letter, can't be read by a voice of the language, is too short, or sounds as another one does.
    """
    for word, text in spelling(settings.corpus).items():
        if text == word:
            _refuse_unreadable(word, said[word], settings.corpus.language)
    min_ms, clip_ms = settings.corpus.min_clip_ms, settings.audio.clip_ms
    warnings = []
    for word, spoken in said.items():
        length_ms = spoken.length_ms
        if length_ms < max(min_ms, 1):
            told = f"eSpeak NG says {word!r} in {length_ms:.0f} ms, corpus.min_clip_ms is {min_ms}"
            raise CorpusError(f"corpus.keywords: {told}; write it as it is spoken, or choose a longer word")
        if length_ms > clip_ms:
            warnings.append(
                f"{word!r} lasts about {length_ms:.0f} ms, a window {clip_ms} ms: only its loudest part is learnt; "
                "choose a shorter word or raise audio.clip_ms"
            )
        sounds = min(len(phonetics.sounds(ipa)) for ipa in spoken.ipa.values())
        if sounds < FEW_SOUNDS and word in settings.corpus.words:  # the protocol's words are as they are
            warnings.append(
                f"{word!r} has {sounds} sound{'s' * (sounds > 1)} only, which are in much that people say; "
                "choose a word of two syllables or more"
            )
    return warnings + _check_pairs({word: list(spoken.ipa.values()) for word, spoken in said.items()})


def _check_pairs(ipa: Mapping[str, Sequence[str]]) -> list[str]:
    warnings = []
    for one, other, far in phonetics.alike(ipa):
        if all(phonetics.sounds(a) == phonetics.sounds(b) for a, b in zip(ipa[one], ipa[other], strict=True)):
            raise CorpusError(
                f"corpus.keywords: {one!r} and {other!r} are both said {ipa[one][0]}; remove one, or write behind it "
                "another pronunciation, as in lamp [[l'amp]]"
            )
        how = "in some accents the same" if far == 0 else f"{100 * (1 - far):.0f} % the same"
        warnings.append(
            f"{one!r} and {other!r} sound alike ({how}), and will be taken for each other; choose another word"
        )
    return warnings


def _refuse_unreadable(word: str, spoken: Spoken, language: str) -> None:
    """Refuse what eSpeak NG would not say but describe, such as “grinning face” or “Chinese letter”."""
    if not any(character.isalnum() for character in word):
        raise CorpusError(f"corpus.keywords: {word!r} has no letter to say; write the word as it is spoken")
    remedy = "write it in letters of that language, or say how: lamp [[l'amp]]; or set corpus.language"
    foreign = [letter for letter in word if letter.isalpha() and not languages.is_latin(letter)]
    if foreign and languages.is_written_in_latin(language):  # some of these voices name other letters without a sign
        raise CorpusError(f"corpus.keywords: voices of {language!r} can't read {foreign[0]!r} in {word!r}; {remedy}")
    for accent, ipa in spoken.ipa.items():
        if languages.is_read_as_another(ipa):
            raise CorpusError(f"corpus.keywords: the voice {accent} can't read {word!r}, but says {ipa}; {remedy}")


# --- near words ---


def near_words(corpus: Corpus) -> dict[str, list[str]]:
    """For each accent, what is nearly one of the keywords of one's own and none of them, as phonemes in [[ ]].

    One phoneme of a keyword is changed to another of the language, a vowel to a vowel and a consonant to a consonant,
    or two are. What is left is as eSpeak NG will say it at least `LEAST_CHANGE` away from every keyword. The ten words
    of the protocol have none: what they are compared with has none either.
    """
    if not corpus.words or not corpus.near_percent:
        return {}
    accents, variant = languages.accents(corpus), voices.cast(corpus)[TRAINING][0]
    vocabulary = languages.vocabulary(corpus.language)
    arguments = (spelling(corpus), vocabulary, accents, variant, corpus.seed)
    return in_fresh_process(voices.clean_context(), voices.BROKEN_OFF, _near_words, *arguments)


def _near_words(
    spelling: Spelling, vocabulary: Sequence[str], accents: Sequence[str], variant: str, seed: int
) -> dict[str, list[str]]:
    speaker = espeak.ESpeak()
    near = {}
    for accent in accents:
        speaker.set_voice(accent, variant)
        inventory = _inventory(speaker, vocabulary)
        forbidden = {word: speaker.phonemes(text) for word, text in spelling.items()}
        of_each = [
            _near(
                speaker, text, forbidden[word], list(forbidden.values()), inventory, seeded(seed, "near", accent, word)
            )
            for word, text in spelling.items()
        ]
        # In turn, so that the first few are of every keyword.
        in_turn = itertools.chain.from_iterable(itertools.zip_longest(*of_each))
        near[accent] = list(dict.fromkeys(text for text in in_turn if text))
    return near


def _inventory(speaker: espeak.ESpeak, vocabulary: Sequence[str]) -> dict[bool, list[str]]:
    """Phonemes of the language in eSpeak NG's notation, without stress: consonants under False, vowels under True."""
    counts: Counter[tuple[str, str]] = Counter()
    for word in vocabulary:
        ipa, phonemes = speaker.transcribe(word), speaker.transcribe(word, ipa=False)
        if len(ipa) == len(phonemes) and not languages.is_read_as_another("".join(ipa)):
            counts.update((_plain(name), sound) for name, sound in zip(phonemes, ipa, strict=True))
    common = {name: sound for (name, sound), count in sorted(counts.items()) if count >= _LEAST_COUNT}
    kinds: dict[bool, list[str]] = {False: [], True: []}
    for name, sound in common.items():
        if phonetics.sounds(sound) and not name.startswith("_"):
            kinds[phonetics.is_vowel(sound)].append(name)
    return kinds


def _near(
    speaker: espeak.ESpeak,
    text: str,
    itself: str,
    forbidden: Sequence[str],
    inventory: Mapping[bool, Sequence[str]],
    generator: np.random.Generator,
) -> list[str]:
    """Up to `NEAR_WORDS` changes of one word."""
    ipa, phonemes = speaker.transcribe(text), speaker.transcribe(text, ipa=False)
    if len(ipa) != len(phonemes):
        return []
    places = [n for n, sound in enumerate(ipa) if phonetics.sounds(sound)]
    found: dict[str, str] = {}  # how it sounds → how it is written
    for trial in range(_TRIALS):
        changed = list(phonemes)
        for place in generator.choice(places, min(1 + trial % 2, len(places)), replace=False):
            choice = inventory[phonetics.is_vowel(ipa[place])]
            if choice:
                mark = phonemes[place][: -len(_plain(phonemes[place]))]
                changed[place] = mark + choice[int(generator.integers(len(choice)))]
        written = f"[[{''.join(changed)}]]"
        sound = speaker.phonemes(written)
        is_far_enough = min(phonetics.distance(sound, other) for other in forbidden) >= LEAST_CHANGE
        if is_far_enough and phonetics.distance(sound, itself) <= MOST_CHANGE:
            found.setdefault(sound, written)
        if len(found) == NEAR_WORDS:
            break
    return list(found.values())


def _plain(phoneme: str) -> str:
    """A phoneme of eSpeak NG's without the signs of stress before it."""
    return phoneme.lstrip("',%=") or phoneme
