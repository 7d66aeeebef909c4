"""What is learnt from: each clip, its changed copies, and windows of no word; nothing of that outside of training."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from pipeline.config import SILENCE, TALK, UNKNOWN, load
from pipeline.corpora import manifest, shards
from pipeline.corpora.manifest import OTHERS, TESTING, TRAINING, VALIDATION
from pipeline.stages import features

CHANGES = load(TINY).augment


def labels_of_rows(build: Path, split: str) -> dict[int, dict[int, str]]:
    """Clip → copy → label, as the index of a split has them; a row that is there twice is an error."""
    names = manifest.read_labels(build / "features")
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for label, clip, copy in shards.read(build / "features" / split).index.tolist():
        assert copy not in found[clip]
        found[clip][copy] = names[label]
    return found


def test_training_has_the_copies_that_were_set_and_windows_of_no_word_as_unknown(tiny_build: Path) -> None:
    clips = manifest.read(tiny_build / "corpus")
    found, copies = labels_of_rows(tiny_build, TRAINING), CHANGES.copies
    talk = {n: rows for n, rows in found.items() if clips[n].label == TALK}
    expected = {}
    for clip in manifest.examples(clips, TRAINING):
        rows = dict.fromkeys(range(copies + 1), clip.label)
        if clip.label != SILENCE:
            rows |= {copies + 1 + fragment: UNKNOWN for fragment in range(CHANGES.fragments)}
        expected[clips.index(clip)] = rows
    assert found == expected | talk
    assert all(clips[n].split == TRAINING for n in found)

    words = sum(clip.label != SILENCE for clip in manifest.examples(clips, TRAINING)) * (1 + copies)
    assert sum(map(len, talk.values())) == round(words * CHANGES.talk_percent / 100)
    assert {label for rows in talk.values() for label in rows.values()} == {UNKNOWN}
    assert 0 not in {copy for rows in talk.values() for copy in rows}  # no sentence is a window as it is
    assert max(map(len, talk.values())) - min(map(len, talk.values())) <= 1


@pytest.mark.parametrize("split", [VALIDATION, TESTING, OTHERS])
def test_the_other_splits_have_each_clip_once_as_it_is(split: str, tiny_build: Path) -> None:
    clips = manifest.read(tiny_build / "corpus")
    expected = {clips.index(clip): {0: clip.label} for clip in manifest.examples(clips, split)}
    assert labels_of_rows(tiny_build, split) == expected


def test_fragments_are_added_and_change_nothing_else(tiny_build: Path, tmp_path: Path) -> None:
    features.run(load(TINY, augment={"fragments": 0}), tiny_build / "corpus", tmp_path / "features")
    without, with_them = (shards.read(build / "features" / TRAINING) for build in (tmp_path, tiny_build))
    rows = set(map(tuple, without.index.tolist()))
    kept = [tuple(row) in rows for row in with_them.index.tolist()]
    assert with_them.index[kept].tolist() == without.index.tolist()
    assert with_them.unspliced(CHANGES.copies).tolist() == np.flatnonzero(kept).tolist()
    assert len(kept) > sum(kept) == len(rows)
    np.testing.assert_allclose(np.concatenate(with_them.mfcc)[kept], np.concatenate(without.mfcc), atol=1e-3)


def test_talk_is_left_out_where_none_of_it_is_wanted(tiny_build: Path, tmp_path: Path) -> None:
    features.run(load(TINY, augment={"talk_percent": 0.0}), tiny_build / "corpus", tmp_path / "features")
    clips, found = manifest.read(tiny_build / "corpus"), labels_of_rows(tmp_path, TRAINING)
    assert found == {n: rows for n, rows in labels_of_rows(tiny_build, TRAINING).items() if clips[n].label != TALK}
