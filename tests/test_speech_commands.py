"""Speech Commands: its layout, the official split, the official test archive, keywords that have no clips."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline import config
from pipeline.config import Corpus, Settings
from pipeline.corpora import speech_commands
from pipeline.corpora.download import Archive
from pipeline.corpora.manifest import OFFICIAL, TESTING, TRAINING, VALIDATION, Found
from pipeline.errors import CorpusError, DownloadError

# Speakers of the published archive and the split that its lists and the reference code give them.
KNOWN = {
    "0c40e715": TESTING,
    "0ea0e2f4": TESTING,
    "026290a7": VALIDATION,
    "060cd039": VALIDATION,
    "0a9f9af7": TRAINING,
}


def settings_of(source: Path | str = "", **corpus: object) -> Settings:
    return config.load(corpus={"kind": "speech_commands", "source": str(source), **corpus})


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"sound")
    return root


def find(root: Path, **corpus: object) -> Found:
    return speech_commands.find(settings_of(root, **corpus), root.parent / "data")


@pytest.mark.parametrize(("speaker", "split"), KNOWN.items())
def test_split_is_the_official_one(speaker: str, split: str) -> None:
    assert speech_commands.split_of(speaker, 10, 10) == split


def test_shares_follow_the_percentages() -> None:
    splits = [speech_commands.split_of(f"speaker{number}", 20, 5) for number in range(2000)]
    assert splits.count(VALIDATION) / 2000 == pytest.approx(0.20, abs=0.03)
    assert splits.count(TESTING) / 2000 == pytest.approx(0.05, abs=0.02)
    assert speech_commands.split_of("0c40e715", 0, 0) == TRAINING


def test_find_reads_the_official_layout(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "words",
        "yes/0c40e715_nohash_1.wav",
        "yes/0c40e715_nohash_0.wav",
        "yes/._0c40e715_nohash_0.wav",
        "yes/.DS_Store",
        "no/026290a7_nohash_0.flac",
        "bed/0a9f9af7_nohash_0.wav",
        "_background_noise_/b.wav",
        "_background_noise_/a.flac",
        "_background_noise_/README.md",
        "README.md",
        "LICENSE",
    )
    found = find(root, keywords=["no", "yes"])
    assert [(c.path.relative_to(root).as_posix(), c.word, c.speaker, c.split) for c in found.candidates] == [
        ("bed/0a9f9af7_nohash_0.wav", "bed", "0a9f9af7", TRAINING),
        ("no/026290a7_nohash_0.flac", "no", "026290a7", VALIDATION),
        ("yes/0c40e715_nohash_0.wav", "yes", "0c40e715", TESTING),
        ("yes/0c40e715_nohash_1.wav", "yes", "0c40e715", TESTING),
    ]
    assert found.noise == [root / "_background_noise_/a.flac", root / "_background_noise_/b.wav"]
    assert found.keywords == ("no", "yes")
    assert found.warnings == []
    assert "CC BY 4.0" in found.licence


def test_keywords_are_the_ten_words_unless_set(tmp_path: Path) -> None:
    root = fill(tmp_path / "words", *(f"{word}/a_nohash_0.wav" for word in (*config.TEN_WORDS, "bed")))
    assert find(root).keywords == ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


def test_a_keyword_without_clips_names_those_that_have_some(tmp_path: Path) -> None:
    root = fill(tmp_path / "words", "yes/a_nohash_0.wav", "bed/a_nohash_0.wav", "off/._junk.wav", "_unknown_/a.wav")
    with pytest.raises(CorpusError) as caught:
        find(root, keywords=["yes", "on", "off"])
    assert str(caught.value) == (
        f"no clips of on, off in {root}; choose from: bed, yes; "
        "set corpus.keywords or WORDS, or use params/eight_words.toml"
    )


def test_the_list_of_words_to_choose_from_is_capped(tmp_path: Path) -> None:
    root = fill(tmp_path / "words", *(f"word{number:02}/a_nohash_0.wav" for number in range(45)))
    with pytest.raises(CorpusError, match="word38, word39 and 5 more; set"):
        find(root)


def test_a_missing_or_empty_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match="nowhere: no such folder; give SOURCE a folder in the layout of Speech Commands"
    ):
        find(tmp_path / "nowhere")
    fill(tmp_path, "file")
    with pytest.raises(CorpusError, match="file: not a folder"):
        find(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty: no recordings of any word"):
        find(tmp_path / "empty")


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_published_lists_that_agree_are_accepted(suffix: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "words", *(f"yes/{speaker}_nohash_0{suffix}" for speaker in KNOWN))
    for split, name in speech_commands.LISTS.items():
        lines = [f"yes/{speaker}_nohash_0.wav\n" for speaker in KNOWN if KNOWN[speaker] == split]
        (root / name).write_text("".join(lines) + "yes/gone_nohash_0.wav\n\n")
    own = [f"own{number}" for number in range(30)]  # recordings added by a person are in no list
    fill(root, *(f"yes/{name}.wav" for name in own))
    splits = {c.speaker: c.split for c in find(root, keywords=["yes"]).candidates}
    assert {speaker: splits[speaker] for speaker in KNOWN} == KNOWN
    assert {splits[name] for name in own} == {TRAINING, VALIDATION, TESTING}


def test_a_contradiction_to_the_lists_names_the_first_file(tmp_path: Path) -> None:
    root = fill(tmp_path / "words", *(f"yes/{speaker}_nohash_0.wav" for speaker in KNOWN))
    (root / "testing_list.txt").write_text("".join(f"yes/{s}_nohash_0.wav\n" for s in ("0c40e715", "0a9f9af7")))
    with pytest.raises(
        CorpusError, match=r"0a9f9af7_nohash_0\.wav: .*testing_list\.txt lists it, .* hashes to training"
    ):
        find(root, keywords=["yes"])
    (root / "testing_list.txt").write_text("yes/0c40e715_nohash_0.wav\n")
    with pytest.raises(CorpusError, match=r"0ea0e2f4_nohash_0\.wav: .*does not list it, .* hashes to testing"):
        find(root, keywords=["yes"])
    assert find(root, keywords=["yes"], testing_percent=20.0).candidates  # the lists know 10 percent only


def test_the_official_test_archive_is_an_extra_split(tmp_path: Path) -> None:
    place = "words/speech_commands_test_set_v0.02"
    root = fill(tmp_path / "words", "yes/0a9f9af7_nohash_0.wav")
    names = (
        "yes/0c40e715_nohash_0.wav",
        "on/0c40e715_nohash_1.wav",
        "_silence_/0.wav",
        "_unknown_/0ea0e2f4_nohash_0.wav",
    )
    fill(tmp_path / place, *names, "yes/._junk.wav")
    found = find(root, keywords=["yes"])
    official = {
        c.path.relative_to(tmp_path / place).as_posix(): c.word for c in found.candidates if c.split == OFFICIAL
    }
    assert official == dict(zip(names, ("yes", "_unknown_", "_silence_", "_unknown_"), strict=True))
    assert [c.path.name for c in found.candidates if c.split != OFFICIAL] == ["0a9f9af7_nohash_0.wav"]
    assert found.candidates == sorted(found.candidates)


def publish(archive: Archive, content: bytes, data_folder: Path) -> Archive:
    """An archive as if it had been downloaded; it is taken once its sha256 is found right."""
    (data_folder / archive.name).write_bytes(content)
    return Archive(archive.name, len(content), hashlib.sha256(content).hexdigest())


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def test_the_mini_release_is_unpacked_once_and_its_junk_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mini_speech_commands/yes/0c40e715_nohash_0.wav", b"sound")
        archive.writestr("mini_speech_commands/yes/._0c40e715_nohash_0.wav", b"junk")
        archive.writestr("__MACOSX/mini_speech_commands/yes/._0c40e715_nohash_0.wav", b"junk")
    mini = publish(speech_commands.ARCHIVES["mini"], buffer.getvalue(), tmp_path)
    monkeypatch.setitem(speech_commands.ARCHIVES, "mini", mini)
    for _ in range(2):
        found = speech_commands.find(settings_of(release="mini", keywords=["yes"]), tmp_path)
        clips = tmp_path / "mini_speech_commands" / "mini_speech_commands" / "yes"
        assert [c.path for c in found.candidates] == [clips / "0c40e715_nohash_0.wav"]
        assert found.warnings == []
    source = settings_of(tmp_path / "mini_speech_commands", keywords=["yes"])
    assert speech_commands.find(source, tmp_path).candidates == found.candidates


def test_release_2_brings_the_official_test_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = publish(speech_commands.ARCHIVES["v0.02"], tar_of("./yes/0a9f9af7_nohash_0.wav"), tmp_path)
    test_set = publish(speech_commands.TEST_ARCHIVE, tar_of("./yes/0c40e715_nohash_0.wav"), tmp_path)
    monkeypatch.setitem(speech_commands.ARCHIVES, "v0.02", release)
    monkeypatch.setattr(speech_commands, "TEST_ARCHIVE", test_set)
    found = speech_commands.find(settings_of(keywords=["yes"]), tmp_path)
    assert [(c.path.relative_to(tmp_path).as_posix(), c.split) for c in found.candidates] == [
        ("speech_commands_test_set_v0.02/yes/0c40e715_nohash_0.wav", OFFICIAL),
        ("speech_commands_v0.02/yes/0a9f9af7_nohash_0.wav", TRAINING),
    ]


def test_an_archive_that_is_not_the_release_is_refused(tmp_path: Path) -> None:
    publish(speech_commands.ARCHIVES["v0.01"], b"another", tmp_path)
    with pytest.raises(DownloadError, match=r"speech_commands_v0\.01\.tar\.gz: not the published archive"):
        speech_commands.find(settings_of(release="v0.01"), tmp_path)
    assert not (tmp_path / "speech_commands_v0.01").exists()


def test_release_names_are_all_known() -> None:
    assert set(Corpus.__dataclass_fields__["release"].metadata["known"]) == set(speech_commands.ARCHIVES)
