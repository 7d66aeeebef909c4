"""A person's own recordings: one sub-folder per word, the speaker in a further sub-folder or in the file's name."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import soundfile

from pipeline.config import BACKGROUND_NOISE, RESERVED, SILENCE, UNKNOWN, Corpus, Settings
from pipeline.corpora.manifest import SPLITS, TESTING, TRAINING, VALIDATION, Candidate, Found
from pipeline.errors import CorpusError

SOUND_SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".mp3", ".opus"}
SOUND_SUFFIXES -= {".raw"}  # such a file says neither its rate nor its channels
LICENCE = "recordings given as a folder; who spoke them must allow the use"
WORDS_SHOWN = 40  # in an error message

LAYOUT = "with one sub-folder of recordings (wav, flac, ogg, opus, mp3) per word"
OPTIMISTIC = "the same voice is in training and testing, so the figures are optimistic"


def find(settings: Settings) -> Found:
    """Clips of `corpus.source`, split by speaker where every recording names its speaker, else by take.

    Raises
    ------
    CorpusError
        If the folder is missing, if a keyword has no recordings, if there is one class only, or if there are
        fewer speakers (or takes of a keyword) than splits.
    """
    corpus = settings.corpus
    root = given_folder(corpus, LAYOUT)
    files, warnings = files_by_word(root)
    noise = files.pop(BACKGROUND_NOISE, [])
    keywords = corpus.words or tuple(sorted(files.keys() - set(RESERVED)))
    replace(corpus, keywords=keywords)  # a folder's name must be as fit for a label as a setting
    takes = sorted(
        Candidate(path, word, speaker(path, root), TRAINING, "folder")
        for word, paths in files.items()
        for path in paths
    )
    # A file of another kind stays in the list so that it is rejected with a reason; it has no say in the split.
    sounds = [take for take in takes if take.path.suffix.lower() in SOUND_SUFFIXES]
    spoken = {take.word for take in sounds} - {SILENCE}
    advice = "record some (m4a and aac are not read: convert them to wav), or set corpus.keywords or WORDS"
    require_clips(keywords, spoken, root, advice)
    warnings += _loose_files(root) + _lack_of_others(keywords, spoken - set(corpus.held_out_words), root)
    splits, split_by, split_warnings = _split(sounds, keywords, corpus, root)
    candidates = [replace(take, split=splits.get(take.path, TRAINING)) for take in takes]
    return Found(keywords, candidates, LICENCE, noise, split_by, warnings + split_warnings)


def given_folder(corpus: Corpus, what: str) -> Path:
    """`corpus.source` as an absolute path; `what` says in an error what it should be."""
    if not corpus.source:
        raise CorpusError(f"corpus.source: no folder is given; set it, or SOURCE, to a folder {what}")
    root = Path(corpus.source).absolute()
    if not root.is_dir():
        raise CorpusError(f"{root}: {'not a' if root.exists() else 'no such'} folder; give SOURCE a folder {what}")
    return root


def files_by_word(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Files below each sub-folder of `root`, sorted, without hidden ones; a warning for each sub-folder left out."""
    files: dict[str, list[Path]] = {}
    warnings = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        word = unicodedata.normalize("NFC", folder.name)  # macOS takes letters and accents apart
        if word.startswith(("_", ".")) and word not in (SILENCE, UNKNOWN, BACKGROUND_NOISE):
            warnings.append(f"{folder.name}: not used, a word can't start with _ or a dot; rename it if it is one")
        else:
            files.setdefault(word, []).extend(path for path in sorted(folder.rglob("*")) if counts(path, folder))
    return files, warnings


def require_clips(keywords: Sequence[str], spoken: Collection[str], root: Path, advice: str) -> None:
    """Refuse keywords that are not among the words `spoken`, naming those that are."""
    choice = sorted(set(spoken) - set(RESERVED))
    if not choice:
        raise CorpusError(f"{root}: no recordings of any word; give SOURCE a folder {LAYOUT}")
    if missing := [word for word in keywords if word not in choice]:
        more = f" and {len(choice) - WORDS_SHOWN} more" if len(choice) > WORDS_SHOWN else ""
        shown = ", ".join(choice[:WORDS_SHOWN]) + more
        raise CorpusError(f"no clips of {', '.join(missing)} in {root}; choose from: {shown}; {advice}")


def counts(path: Path, folder: Path) -> bool:
    """Whether it is a file to look into; a link that leads nowhere is one, so that it is rejected with a reason."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and not path.is_dir()


def _loose_files(root: Path) -> list[str]:
    loose = sorted(path for path in root.iterdir() if not path.is_dir() and not path.name.startswith("."))
    return [f"{path.name}: not used, it lies outside the word folders" for path in loose]


def _lack_of_others(keywords: Sequence[str], learnt: Collection[str], root: Path) -> list[str]:
    """Warn of a corpus of which nothing but keywords is learnt; refuse it if it is one keyword only.

    A warning is published with the model, so it names no path of the maker's.
    """
    if set(learnt) != set(keywords):
        return []
    if len(keywords) == 1:
        lack = f"{keywords[0]} is the only class; add a second word, or recordings of other words in {UNKNOWN}"
        raise CorpusError(f"{root}: {lack}")
    return [f"nothing but keywords is learnt, so any word will be taken for one of them; add others in {UNKNOWN}"]


def speaker(path: Path, root: Path) -> str:
    """`anna` of `lamp/anna/1.wav`, `lamp/anna_nohash_1.wav` and `lamp/anna_1.wav`; empty where nothing names one."""
    word, *inside = Path(unicodedata.normalize("NFC", str(path.relative_to(root)))).parts
    if len(inside) > 1:
        return inside[0]
    stem = Path(inside[0]).stem
    prefix, separator, _ = stem.partition("_nohash_" if "_nohash_" in stem else "_")
    # lamp/lamp_1.wav names the word once more, not the speaker.
    return prefix if separator and prefix.lower() != word.strip("_").lower() else ""


def _split(
    sounds: Sequence[Candidate], keywords: Sequence[str], corpus: Corpus, root: Path
) -> tuple[dict[Path, str], str, list[str]]:
    """Split of each sound, whether speakers or takes were divided, and what to warn of."""
    nameless = [take.path for take in sounds if take.word != SILENCE and not take.speaker]
    if corpus.split_by == "take":
        why = "split by take, as set"
    elif nameless:
        first = nameless[0].relative_to(root)
        why = f"split by take: no speaker in {len(nameless)} names ({first}), as in lamp/anna/1.wav or lamp/anna_1.wav"
    else:
        splits, warnings = _split_by_speaker(sounds, keywords, corpus, root)
        return splits, "speaker", warnings
    return _split_by_take(sounds, keywords, corpus, root), "take", [f"{why}; {OPTIMISTIC}"]


def _split_by_take(sounds: Sequence[Candidate], keywords: Sequence[str], corpus: Corpus, root: Path) -> dict[Path, str]:
    """Divide the takes of each keyword, of silence, and of all other words together."""
    pools: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for take in sounds:
        pool = take.word if take.word in (SILENCE, *keywords) else UNKNOWN
        pools[pool][take.path.relative_to(root).as_posix()] = 1
    for word in keywords:
        if len(pools[word]) < len(SPLITS):
            few = f"{len(pools[word])} takes of {word} for {len(SPLITS)} splits"
            raise CorpusError(f"{root}: {few}; record at least {len(SPLITS)}")
    return {root / name: split for takes in pools.values() for name, split in _divide(takes, corpus).items()}


def _split_by_speaker(
    sounds: Sequence[Candidate], keywords: Sequence[str], corpus: Corpus, root: Path
) -> tuple[dict[Path, str], list[str]]:
    """Divide the speakers of keywords, and apart from them those of other words only."""
    speakers = Counter(take.speaker for take in sounds if take.word in keywords)
    if len(speakers) < len(SPLITS):
        few = f"keywords by {', '.join(sorted(speakers))} alone, and there are {len(SPLITS)} splits"
        raise CorpusError(f'{root}: {few}; record more speakers, or set split_by = "take" in [corpus]')
    others = Counter(take.speaker for take in sounds if take.word != SILENCE and take.speaker not in speakers)
    split_of = _divide(speakers, corpus) | _divide(others, corpus)
    splits = {take.path: split_of[take.speaker] for take in sounds if take.word != SILENCE}
    # Silence has no voice in it.
    splits |= _split_by_take([take for take in sounds if take.word == SILENCE], (), corpus, root)
    present = {(take.word, splits[take.path]) for take in sounds}
    missing = [(word, split) for word in keywords for split in SPLITS if (word, split) not in present]
    return splits, [f"no clip of {word} in the {split} split; have more speakers say it" for word, split in missing]


def _divide(clips: Mapping[str, int], corpus: Corpus) -> dict[str, str]:
    """Put whole groups of clips into splits that hold about the percentages set, at least one group in each.

    Fewer groups than splits are all for training. The order comes from a hash of the names: it looks random, and a
    group added later moves few others.
    """
    names = sorted(clips, key=lambda name: hashlib.sha1(os.fsencode(name)).digest())
    if len(names) < len(SPLITS):
        return dict.fromkeys(names, TRAINING)
    before = [0, *accumulate(clips[name] for name in names)]

    def cut(first: int, last: int, percent: float) -> int:
        wanted = before[first - 1] + before[-1] * percent / 100
        return min(range(first, last + 1), key=lambda count: abs(before[count] - wanted))

    testing = cut(1, len(names) - 2, corpus.testing_percent)
    validation = cut(testing + 1, len(names) - 1, corpus.validation_percent)
    splits = [TESTING] * testing + [VALIDATION] * (validation - testing) + [TRAINING] * (len(names) - validation)
    return dict(zip(names, splits, strict=True))
