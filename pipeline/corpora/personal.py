"""A speaker's own takes for a recogniser that is finished: which of them are learnt, and which only measure it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, SILENCE, UNKNOWN, Settings
from pipeline.corpora import folder, manifest
from pipeline.corpora.manifest import LEFT_OUT, TRAINING, Candidate, Clip, Rejected
from pipeline.corpora.noise import seeded
from pipeline.device.bundle import read_description
from pipeline.errors import CorpusError, SettingsError, StaleInput

LEAST_TAKES = 2  # of a word: one to learn from, one to measure on

log = logging.getLogger(__name__)


def sections(bundle: Path) -> dict[str, dict[str, Any]]:
    """The settings that a bundle was made by, from the build that it lies in.

    Raises
    ------
    BundleError
        If it is no bundle.
    SettingsError
        If it was personalised itself: its speakers' takes are in its corpus, and might be learnt and measured on.
    StaleInput
        If no build is around it.
    """
    read_description(bundle)
    try:
        found = receipt.read(bundle.parent / "evaluate", "evaluate").settings
    except StaleInput as error:
        raise of_build(bundle, error) from None
    if first := found.pop("personalise", {}).get("bundle"):
        raise SettingsError(f"{bundle}: it is personalised; give the BUNDLE that it came from, {first}, and all takes")
    return found


def of_build(bundle: Path, error: StaleInput) -> StaleInput:
    """What is wrong with the build that a bundle lies in, told to somebody who has named the bundle only."""
    build = bundle.parent
    return StaleInput(f"{bundle}: what it was made of must lie beside it; {error} BUILD={build}, with its settings")


def takes(
    settings: Settings, keywords: Sequence[str], known: Sequence[Clip], work: Path
) -> tuple[list[Clip], list[Rejected]]:
    """Look into the takes of `personalise.source`, and leave one of each word and speaker out of what is learnt.

    Parameters
    ----------
    keywords
        The words that the recogniser knows.
    known
        Clips that it was made of.

    Returns
    -------
    clips, rejected
        Clips in `TRAINING`, one of each word in `LEFT_OUT`; takes that can't be used. Takes of other words and silence
        are all for training, and recordings of noise are for its copies.

    Raises
    ------
    CorpusError
        If there is a folder of a word that isn't known, if a speaker has too few takes of a word, or if one recording
        would be learnt and measured on.
    """
    root = Path(settings.personalise.source)
    looked_at = [manifest.look_at(take, keywords, work, settings) for take in _find(root, keywords)]
    rejected = [take for take in looked_at if isinstance(take, Rejected)]
    for take in rejected:
        log.warning("%s: %s; it is not used", take.path, take.reason)
    clips = [take for take in looked_at if isinstance(take, Clip)]
    _refuse_repeated(clips, known)
    missing = [word for word in keywords if word not in {clip.label for clip in clips}]
    if len(missing) == len(keywords):
        raise CorpusError(f"{root}: no takes of {', '.join(keywords)}; give SOURCE a folder {folder.LAYOUT}")
    if missing:
        log.warning("no take of %s: only other voices say it", ", ".join(missing))
    return _leave_out(clips, keywords, root, settings.personalise.seed), rejected


def _find(root: Path, keywords: Sequence[str]) -> list[Candidate]:
    files, warnings = folder.files_by_word(root)
    for line in warnings:
        log.warning(line)
    if unknown := sorted(files.keys() - {*keywords, SILENCE, UNKNOWN, BACKGROUND_NOISE}):
        remedy = f"it knows {', '.join(keywords)}; move them elsewhere, or into {UNKNOWN}"
        raise CorpusError(f"{root}: BUNDLE doesn't know {', '.join(unknown)}; {remedy}")
    return sorted(
        Candidate(path, word, folder.speaker(path, root), TRAINING, "folder")
        for word, paths in files.items()
        for path in paths
    )


def _refuse_repeated(clips: Sequence[Clip], known: Sequence[Clip]) -> None:
    """One recording twice may be learnt and measured on."""
    seen = {clip.sha256: f"in the corpus of BUNDLE, as {clip.path}" for clip in known}
    for clip in clips:
        if place := seen.get(clip.sha256):
            raise CorpusError(f"{clip.path}: the same recording is {place}; delete or move one of them")
        seen[clip.sha256] = clip.path


def _leave_out(clips: Sequence[Clip], keywords: Sequence[str], root: Path, seed: int) -> list[Clip]:
    groups: defaultdict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.speaker, clip.label].append(clip)
    left_out = []
    for (speaker, label), group in sorted(groups.items()):
        if label not in keywords:
            continue
        if len(group) < LEAST_TAKES:
            whose = f"{label} by {speaker}" if speaker else label
            reason = "one of each word is left out to measure on, and the others are learnt"
            raise CorpusError(f"{root}: only one take of {whose} can be used; record one more: {reason}")
        left_out.append(group[int(seeded(seed, LEFT_OUT, speaker, label).integers(len(group)))])
    return [replace(clip, split=LEFT_OUT) if clip in left_out else clip for clip in clips]
