"""A person's own words, take by take: what is still to be recorded, and where each take goes, for `folder` to read."""

from __future__ import annotations

import contextlib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pipeline.config import BACKGROUND_NOISE, UNKNOWN
from pipeline.corpora import folder, languages
from pipeline.corpora.noise import seeded
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.errors import AudioError, CorpusError

WORDS_AN_UNKNOWN = 5  # for so many takes of words one of another word, the share that training makes use of
ROUNDS_A_SILENCE = 5


def wanted(words: Sequence[str], takes: int) -> dict[str, int]:
    """Takes of each folder, of other words and of silence too."""
    unknown = takes * math.ceil(len(words) / WORDS_AN_UNKNOWN)
    return {BACKGROUND_NOISE: math.ceil(takes / ROUNDS_A_SILENCE), **dict.fromkeys(words, takes), UNKNOWN: unknown}


def plan(wanted: Mapping[str, int], there: Mapping[str, int], rounds: int) -> list[str]:
    """Folders of the missing takes in the order to ask for them: in rounds, so that nobody says a word in one breath.

    The takes of each folder are spread evenly over the rounds; a round begins with silence, if it has any, and its
    words come in a random order, which is always the same one. What is there counts as the first.
    """
    in_round: defaultdict[int, list[str]] = defaultdict(list)
    for name, count in wanted.items():
        for number in range(there.get(name, 0), count):
            in_round[number * rounds // count].append(name)
    asked: list[str] = []
    for number in range(rounds):
        order = [in_round[number][index] for index in seeded("round", number).permutation(len(in_round[number]))]
        if asked and order and order[0] == asked[-1]:
            order.append(order.pop(0))
        asked += sorted(order, key=lambda name: name != BACKGROUND_NOISE)
    return asked


def examples(words: Sequence[str], speaker: str) -> list[str]:
    """Other words that may be said: English ones, in an order of each speaker's own, without those in `words`."""
    forbidden = {part.casefold() for word in words for part in word.split()}
    known = languages.vocabulary()
    order = seeded("examples", speaker).permutation(len(known))
    return [known[index] for index in order if known[index] not in forbidden]


class Takes:
    """The takes of one speaker in a folder for `make CORPUS=folder`, as `root/word/speaker/001.wav`.

    Of all ways to name a speaker there, a folder is the one that leaves no sign without meaning: `_` ends a prefix.

    Parameters
    ----------
    root
        Made if it isn't there. It may hold takes of other speakers and of other words.

    Raises
    ------
    CorpusError
        If a word or the speaker can't be a folder's name, or stands in `root` with other capitals.
    """

    def __init__(self, root: Path, words: Sequence[str], speaker: str) -> None:
        self.root = root
        self.words, self.speaker = [_name(word, "a word") for word in words], _name(speaker, "a speaker")
        root.mkdir(parents=True, exist_ok=True)
        spoken = self._spoken()
        for name in self.words:
            _refuse_other_capitals(name, {word for word, _ in spoken}, root)
        _refuse_other_capitals(self.speaker, {speaker for _, speaker in spoken}, root)

    def count(self) -> dict[str, int]:
        """How many there are of each word, of other words and of silence."""
        spoken = self._spoken()
        return {name: spoken[name, self.speaker] for name in (BACKGROUND_NOISE, *self.words, UNKNOWN)}

    def keep(self, name: str, samples: Samples, sample_rate_hz: int) -> Path:
        """Write one more take `(n,)`, as a whole or not at all.

        Raises
        ------
        AudioError
            If it can't be written.
        """
        place = self.root / name / self.speaker
        try:
            place.mkdir(parents=True, exist_ok=True)
            last = max((int(path.stem) for path in place.iterdir() if path.stem.isdecimal()), default=0)
            path = place / f"{last + 1:03}.wav"
            part = path.with_name(f".{path.name}.part")  # hidden files are no takes
            try:
                audio.write(part, samples, sample_rate_hz)
                part.rename(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise AudioError(f"{place}: {error.strerror}; mend it and start again, the takes before are kept") from None
        finally:
            _remove_empty(place)
        return path

    def remove(self, path: Path) -> None:
        """Undo a `keep`."""
        path.unlink(missing_ok=True)
        _remove_empty(path.parent)

    def speakers(self) -> int:
        """How many people have said any of the words."""
        return len({speaker for word, speaker in self._spoken() if word in self.words})

    def _spoken(self) -> Counter[tuple[str, str]]:
        """Takes of each word and speaker in `root`."""
        files, _ = folder.files_by_word(self.root)
        return Counter(
            (word, folder.speaker(path, self.root))
            for word, paths in files.items()
            for path in paths
            if path.suffix.lower() in folder.SOUND_SUFFIXES
        )


def _name(given: str, what: str) -> str:
    """A name as that of a folder."""
    name = unicodedata.normalize("NFC", given.strip())
    if not name or not name.isprintable():
        raise CorpusError(f"{given!r} can't be {what}: give letters that can be printed")
    if signs := [sign for sign in "/\\" if sign in name]:
        raise CorpusError(f"{name!r} can't be {what}: it names a folder, which can't hold {signs[0]}; leave it out")
    if name.startswith(".") or (name.startswith("_") and what == "a word"):
        raise CorpusError(f"{name!r} can't be {what}: folders whose names begin so are not read; begin with a letter")
    return name


def _refuse_other_capitals(name: str, known: Collection[str], root: Path) -> None:
    """One voice under two names would be in training and testing, one word under two be two classes."""
    for other in known:
        if other != name and other.casefold() == name.casefold():
            raise CorpusError(f"{name!r} is spelt {other!r} in {root}; give it so, or rename what is there")


def _remove_empty(place: Path) -> None:
    """Remove the folder of a speaker, and that of the word, if nothing is in them: it would be a word without takes."""
    with contextlib.suppress(OSError):
        place.rmdir()
        place.parent.rmdir()
