"""Google Speech Commands: a folder in its layout, or a download; the official split by speaker.

Warden 2018, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.config import BACKGROUND_NOISE, SILENCE, TEN_WORDS, UNKNOWN, Corpus, Settings
from pipeline.corpora.download import Archive, obtain
from pipeline.corpora.folder import files_by_word, given_folder, require_clips
from pipeline.corpora.manifest import OFFICIAL, TESTING, TRAINING, VALIDATION, Candidate, Found
from pipeline.errors import CorpusError

LICENCE = "Google Speech Commands, Pete Warden, CC BY 4.0, arXiv:1804.03209"
MINI_FOLDER = "mini_speech_commands"  # the mini archive holds its words one folder deeper
LISTS = {VALIDATION: "validation_list.txt", TESTING: "testing_list.txt"}
LISTS_PERCENT = 10.0  # of the speakers in each list
MAX_HASH = 2**27 - 1  # MAX_NUM_WAVS_PER_CLASS of the reference code

# fmt: off
ARCHIVES = {
    "v0.01": Archive("speech_commands_v0.01.tar.gz", 1_489_096_277,
                     "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"),
    "v0.02": Archive("speech_commands_v0.02.tar.gz", 2_428_923_189,
                     "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"),
    "mini": Archive("mini_speech_commands.zip", 182_082_353,
                    "49650f2341b26d886b46b3f4fb8fed59e30300b17550f1ee4a768b3106cf93a0"),
}
TEST_ARCHIVE = Archive("speech_commands_test_set_v0.02.tar.gz", 112_563_277,
                       "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df")
# fmt: on


def find(settings: Settings, data_folder: Path) -> Found:
    """Clips of `corpus.source`, else of the release that is or will be downloaded into `data_folder`.

    Where the official test archive lies unpacked in the source, or was downloaded, its clips are an extra split.

    Raises
    ------
    CorpusError
        If the folder is missing, if a keyword has no clips, or if the published lists contradict the split.
    DownloadError
        If the download fails.
    """
    corpus = settings.corpus
    root, test_folder = _folders(corpus, data_folder.absolute())
    files, warnings = files_by_word(root)
    files.pop(TEST_ARCHIVE.folder_name, None)
    noise = [path for path in files.pop(BACKGROUND_NOISE, []) if path.name != "README.md"]  # the archive has one there
    keywords = corpus.words or TEN_WORDS
    replace(corpus, keywords=keywords)  # refuses those of the ten words that are held out
    spoken = {word for word, paths in files.items() if paths}
    require_clips(keywords, spoken, root, "set corpus.keywords or WORDS, or use params/eight_words.toml")
    candidates = [_candidate(path, word, corpus) for word, paths in files.items() for path in paths]
    if corpus.validation_percent == corpus.testing_percent == LISTS_PERCENT:
        _check_lists(root, candidates)
    if test_folder.is_dir():
        candidates += _official(test_folder, keywords)
    return Found(keywords, sorted(candidates), LICENCE, noise, warnings=warnings)


def speaker_of(path: Path) -> str:
    """Speaker in a name like `<speaker>_nohash_<n>.wav`."""
    return path.stem.partition("_nohash_")[0]


def split_of(speaker: str, validation_percent: float, testing_percent: float) -> str:
    """Split of a speaker by the hash of the reference code (`which_set`): clips added later never change it."""
    hashed = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (MAX_HASH + 1)
    percent = hashed * (100.0 / MAX_HASH)
    if percent < validation_percent:
        return VALIDATION
    return TESTING if percent < validation_percent + testing_percent else TRAINING


def _folders(corpus: Corpus, data_folder: Path) -> tuple[Path, Path]:
    """Folder of the words, and where that of the official test archive is if it is at hand."""
    if corpus.source:
        root = given_folder(corpus, "in the layout of Speech Commands, or none to download it")
    else:
        root = obtain(ARCHIVES[corpus.release], data_folder)
    downloads_tests = not corpus.source and corpus.release == "v0.02"
    test_folder = obtain(TEST_ARCHIVE, data_folder) if downloads_tests else root / TEST_ARCHIVE.folder_name
    words = root / MINI_FOLDER
    return words if words.is_dir() else root, test_folder


def _candidate(path: Path, word: str, corpus: Corpus) -> Candidate:
    speaker = speaker_of(path)
    split = split_of(speaker, corpus.validation_percent, corpus.testing_percent)
    return Candidate(path, word, speaker, split, "speech_commands")


def _official(folder: Path, keywords: Iterable[str]) -> list[Candidate]:
    known = {SILENCE, *keywords}
    return [
        Candidate(path, word if word in known else UNKNOWN, speaker_of(path), OFFICIAL, TEST_ARCHIVE.folder_name)
        for word, paths in files_by_word(folder)[0].items()
        for path in paths
    ]


def _check_lists(root: Path, candidates: Iterable[Candidate]) -> None:
    """Refuse clips that the published lists put in another split, whatever format they were converted to."""
    for split, name in LISTS.items():
        if not (root / name).is_file():
            continue
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        listed = {PurePosixPath(line).with_suffix("") for line in lines if line.strip()}
        for clip in candidates:
            official_name = PurePosixPath(clip.path.relative_to(root).with_suffix("").as_posix())
            if "_nohash_" in clip.path.name and (official_name in listed) != (clip.split == split):
                is_listed = "lists" if official_name in listed else "does not list"
                contradiction = f"{root / name} {is_listed} it, but its speaker hashes to {clip.split}"
                raise CorpusError(f"{clip.path}: {contradiction}; restore the published list or delete it")
