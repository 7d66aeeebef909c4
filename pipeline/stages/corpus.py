"""Candidates to corpus: every file looked into, unknown words and silence drawn, one manifest written."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import joblib
import numpy as np
from rich.console import Console
from rich.progress import track

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, SILENCE, TALK, UNKNOWN, Settings
from pipeline.corpora import folder, manifest, mswc, noise, speech_commands, synthetic, talk
from pipeline.corpora.manifest import Candidate, Clip, Found, Rejected
from pipeline.device import audio
from pipeline.errors import AudioError, CorpusError

log = logging.getLogger(__name__)


def run(settings: Settings, data: Path, out: Path) -> str:
    """Build the corpus that the settings name; `data` is where downloads land."""
    with receipt.making(out, "corpus", settings) as work:
        found = _hold_out(_find(settings, data, work), settings.corpus.held_out_words)
        if settings.corpus.synthetic_clips:
            licence = f"{found.licence}; synthetic clips {synthetic.licence(settings.corpus)}"
            found = dataclasses.replace(found, licence=licence)
        log.info("data: %s", found.licence)
        for line in found.warnings:
            log.warning(line)
        clips, rejected = _look_into(found.candidates, found.keywords, work, settings)
        noise_recordings, rejected_noise = _look_into_noise(found.noise, settings)
        rejected += rejected_noise
        manifest.write_rejected(work, rejected)
        files = len(found.candidates) + len(found.noise)
        _refuse_too_many(rejected, files, settings, work)
        _require_keywords(clips, found.keywords)  # voices may speak for half an hour: before that
        voices = synthetic.beside(settings, found.keywords, work) + talk.find(settings, found.keywords, work)
        spoken, rejected_spoken = _look_into(voices, found.keywords, work, settings)
        rejected += rejected_spoken
        manifest.write_rejected(work, rejected)
        _refuse_too_many(rejected, files + len(voices), settings, work)
        clips = _draw_unknown(clips, settings)
        clips += _noise_and_silence(noise_recordings, clips, work, settings)
        clips += spoken
        manifest.write(work, clips, manifest.labels(found.keywords))
        manifest.write_about(work, found)
    lost = f"; {len(rejected)} rejected, see {out / manifest.REJECTED}" if rejected else ""
    return f"{_counts(clips)}; {len(found.keywords)} keywords{lost}"


def _find(settings: Settings, data: Path, work: Path) -> Found:
    if settings.corpus.kind == "synthetic":
        return synthetic.find(settings, work)
    if settings.corpus.kind == "speech_commands":
        return speech_commands.find(settings, data)
    if settings.corpus.kind == "mswc":
        return mswc.find(settings)
    return folder.find(settings)


def _hold_out(found: Found, words: Sequence[str]) -> Found:
    """Leave words out of the splits that are learnt from and chosen on; those to measure on stay as they are."""
    spoken = {candidate.word for candidate in found.candidates}
    if missing := [word for word in words if word not in spoken]:
        raise CorpusError(f"corpus.held_out_words: no clip of {', '.join(missing)}; correct or remove it")
    kept = [
        candidate
        for candidate in found.candidates
        if candidate.word not in words or candidate.split not in (manifest.TRAINING, manifest.VALIDATION)
    ]
    return dataclasses.replace(found, candidates=kept)


def _look_into(
    candidates: Sequence[Candidate], keywords: Sequence[str], work: Path, settings: Settings
) -> tuple[list[Clip], list[Rejected]]:
    """Decode every candidate: a clip with the digest of its content, or the reason why it can't be used."""
    parallel = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")
    results = parallel(
        joblib.delayed(manifest.look_at)(candidate, keywords, work, settings) for candidate in candidates
    )
    looked_at = list(track(results, "reading", total=len(candidates), console=Console(stderr=True)))
    clips = [result for result in looked_at if isinstance(result, Clip)]
    return clips, [result for result in looked_at if isinstance(result, Rejected)]


def _look_into_noise(recordings: Sequence[Path], settings: Settings) -> tuple[list[Path], list[Rejected]]:
    """Recordings that can be cut into windows, and those that can't be used with the reason."""
    usable, rejected = [], []
    for path in recordings:
        try:
            audio.read(path, settings.audio.sample_rate_hz, settings.audio.clip_ms)
            usable.append(path)
        except AudioError as error:
            rejected.append(manifest.rejection(path, error))
    return usable, rejected


def _refuse_too_many(rejected: Sequence[Rejected], candidates: int, settings: Settings, work: Path) -> None:
    percent = 100 * len(rejected) / max(candidates, 1)
    if percent > settings.corpus.max_rejected_percent:
        first = rejected[0]
        raise CorpusError(
            f"{len(rejected)} of {candidates} files can't be used ({percent:.1f} %, at most "
            f"{settings.corpus.max_rejected_percent:g} %), the first {first.path}: {first.reason}; mend or remove "
            f"those that {work / manifest.REJECTED} lists, or raise corpus.max_rejected_percent"
        )


def _require_keywords(clips: Sequence[Clip], keywords: Sequence[str]) -> None:
    """What can't be used may have been all that there was of a word."""
    for split in manifest.SPLITS:
        heard = {clip.label for clip in clips if clip.split == split}
        missing = [word for word in keywords if word not in heard]
        if missing and (split == manifest.TRAINING or len(missing) == len(keywords)):
            raise CorpusError(
                f"no usable {split} clip of {', '.join(missing)}; have more people say it, or leave it out"
            )
        if missing:
            log.warning("no %s clip of %s: its figures say nothing of it", split, ", ".join(missing))


def _draw_unknown(clips: Sequence[Clip], settings: Settings) -> list[Clip]:
    """Keep all keywords and, of each split's other words, as many as its share says, drawn with the seed.

    Those of the testing split that are left go to `OTHERS`, so that nothing is lost for measuring.
    """
    kept = [clip for clip in clips if clip.label != UNKNOWN or clip.split == manifest.OFFICIAL]
    for split in manifest.SPLITS:
        others = sorted(clip for clip in clips if clip.label == UNKNOWN and clip.split == split)
        count = _share(clips, split, "unknown", settings)
        order = np.random.default_rng([settings.corpus.seed, manifest.SPLITS.index(split)]).permutation(len(others))
        kept += [others[n] for n in order[:count]]
        if split == manifest.TESTING:
            kept += [dataclasses.replace(others[n], split=manifest.OTHERS) for n in order[count:]]
        if count < len(others):
            prefix = "training_" if split == manifest.TRAINING else ""
            setting = f"corpus.{prefix}unknown_percent"
            log.info("%s: %d of %d clips of other words are drawn (%s)", split, count, len(others), setting)
    return kept


def _noise_and_silence(recordings: Sequence[Path], clips: Sequence[Clip], work: Path, settings: Settings) -> list[Clip]:
    """Noise to mix in, and clips of it that are the silence class; each split has its own part of a recording.

    `OTHERS` gets clips of kinds of noise that no split has.
    """
    for folder_name in ("noise", "silence"):  # an interrupted run may have made them from other recordings
        shutil.rmtree(work / folder_name, ignore_errors=True)
    sources = list(recordings) or noise.recordings(settings, work)
    pieces = noise.cut(sources, work, settings)
    made = []
    for split in manifest.SPLITS:
        made += [
            manifest.clip_of(path, BACKGROUND_NOISE, BACKGROUND_NOISE, path.stem, split, "noise", work)
            for path in pieces[split]
        ]
        missing = _share(clips, split, "silence", settings) - _count(clips, split, SILENCE)
        silence = noise.silence_clips(max(missing, 0), pieces[split], work, split, settings)
        made += [manifest.clip_of(path, SILENCE, SILENCE, "noise", split, "noise", work) for path in silence]
    for kind, paths in noise.never_trained_on(work, settings).items():
        made += [manifest.clip_of(path, SILENCE, kind, "noise", manifest.OTHERS, "noise", work) for path in paths]
    return made


def _share(clips: Sequence[Clip], split: str, kind: str, settings: Settings) -> int:
    """How many unknown or silence clips a split gets: a percentage of its keyword clips."""
    prefix = "training_" if split == manifest.TRAINING else ""
    percent = getattr(settings.corpus, f"{prefix}{kind}_percent")
    keywords = sum(clip.split == split and clip.label not in (UNKNOWN, SILENCE) for clip in clips)
    return math.ceil(keywords * percent / 100)


def _count(clips: Iterable[Clip], split: str, label: str) -> int:
    return sum(clip.split == split and clip.label == label for clip in clips)


def _counts(clips: Sequence[Clip]) -> str:
    sounds = [clip for clip in clips if clip.label not in (BACKGROUND_NOISE, TALK)]
    splits = sorted({clip.split for clip in sounds}, key=[*manifest.SPLITS, manifest.OFFICIAL, manifest.OTHERS].index)
    return ", ".join(f"{split} {sum(clip.split == split for clip in sounds):,}" for split in splits) + " clips"
