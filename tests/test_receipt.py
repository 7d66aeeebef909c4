"""Receipts: what is stale or edited is refused, and a crash at any point leaves a whole artefact."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.config import Settings
from pipeline.errors import SettingsError, StaleInput
from pipeline.receipt import PLAN, RECEIPT, STAGES, Stage, listing_digest, making, require, write_settings


class Crash(BaseException):
    """The end of the process, as far as the code under test can see: no `except Exception` catches it."""


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings(**{name: config.build_section(name, values) for name, values in sections.items()})


def make(
    folder: Path, stage: str = "corpus", content: str = "one", given: Settings | None = None, **inputs: Path
) -> Path:
    """Run a stage that leaves two files."""
    given = given or Settings()
    with making(folder, stage, given, require(given, **inputs)) as work:
        (work / "sub").mkdir(exist_ok=True)
        (work / "a.txt").write_text(content)
        (work / "sub" / "b.txt").write_text(content)
    return folder


def make_line(build: Path, given: Settings | None = None, content: str = "one") -> dict[str, Path]:
    """The first three stages."""
    folders = {stage: build / stage for stage in ("corpus", "features", "train")}
    make(folders["corpus"], "corpus", content, given)
    make(folders["features"], "features", content, given, corpus=folders["corpus"])
    make(folders["train"], "train", content, given, features=folders["features"])
    return folders


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refusal(given: Settings | None = None, **folders: Path) -> str:
    with pytest.raises(StaleInput) as caught:
        require(given or Settings(), **folders)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# --- what is left behind ---


def test_a_finished_stage_leaves_its_files_and_a_receipt(tmp_path: Path) -> None:
    folder = make(tmp_path / "deep" / "corpus")
    assert list(tree(tmp_path)) == [f"deep/corpus/{name}" for name in ("a.txt", RECEIPT, "sub/b.txt")]
    (made,) = require(Settings(), corpus=folder)
    one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert made.files == {"a.txt": one, "sub/b.txt": one}
    assert (made.stage, made.format, made.inputs) == ("corpus", STAGES["corpus"].format, {})
    assert made.settings == {name: Settings().section(name) for name in ("audio", "corpus")}


def test_a_receipt_holds_the_settings_of_the_whole_line_and_names_its_inputs(tmp_path: Path) -> None:
    corpus, features, train = require(Settings(), **make_line(tmp_path))
    assert features.inputs == {"corpus": corpus.digest}
    assert train.inputs == {"features": features.digest}
    assert train.settings.keys() == {"audio", "corpus", "features", "augment", "model", "train"}


def test_the_digest_does_not_depend_on_where_the_folder_is(tmp_path: Path) -> None:
    here = make(tmp_path / "here" / "corpus")
    there = make(tmp_path / "there" / "elsewhere")
    other = make(tmp_path / "other" / "corpus", content="two")
    digests = [require(Settings(), corpus=folder)[0].digest for folder in (here, there, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_moved_build_is_still_good(tmp_path: Path) -> None:
    make_line(tmp_path / "build")
    (tmp_path / "build").rename(tmp_path / "moved")
    assert len(require(Settings(), **{stage: tmp_path / "moved" / stage for stage in ("corpus", "features")})) == 2


# --- what is refused ---


def test_changed_settings_are_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    line = make_line(tmp_path, settings(features={"n_mfcc": 13}))
    message = refusal(settings(features={"n_mfcc": 20}), features=line["features"])
    assert message == "stale: features.n_mfcc was 13, now 20; run: make features"


@pytest.mark.parametrize(
    ("section", "key", "then", "now", "stage"),
    [
        ("audio", "clip_ms", 1000, 2000, "corpus"),
        ("corpus", "keywords", [], ["yes"], "corpus"),
        ("augment", "gain_db", 6.0, 6.5, "features"),
        ("model", "lstm_units", [8, 8], [8], "train"),
        ("train", "mixed_precision", False, True, "train"),
    ],
)
def test_settings_of_every_stage_before_count(
    tmp_path: Path, section: str, key: str, then: Any, now: Any, stage: str
) -> None:
    train = make_line(tmp_path, settings(**{section: {key: then}}))["train"]
    change = f"{section}.{key} was {then!r}, now {now!r}"
    assert refusal(settings(**{section: {key: now}}), train=train) == f"stale: {change}; run: make {stage}"


def test_settings_that_the_line_has_not_read_do_not_count(tmp_path: Path) -> None:
    train = make_line(tmp_path)["train"]
    assert require(settings(quantize={"seed": 99}, listen={"rest_ms": 900}), train=train)


def test_a_setting_that_came_later_makes_a_receipt_stale(tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus")
    change_receipt(folder, lambda content: content["settings"]["audio"].pop("clip_ms"))
    assert refusal(corpus=folder) == "stale: audio.clip_ms was None, now 1000; run: make corpus"


def change_receipt(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / RECEIPT).read_text())
    change(content)
    (folder / RECEIPT).write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["a.txt", "sub/b.txt"])
def test_an_edited_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "corpus")
    (folder / name).write_text("onE")
    redo = f"rm -r {folder} && make corpus"
    assert refusal(corpus=folder) == f"edited: {folder / name} was edited since it was made; run: {redo}"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus")
    (folder / "sub" / "b.txt").unlink()
    redo = f"rm -r {folder} && make corpus"
    assert refusal(corpus=folder) == f"edited: {folder / 'sub' / 'b.txt'} is missing since it was made; run: {redo}"


def test_a_receipt_without_the_rest_is_refused(tmp_path: Path) -> None:
    assert refusal(corpus=tmp_path / "none") == f"missing: {tmp_path / 'none' / RECEIPT}; run: make corpus"
    (tmp_path / "file").write_text("")
    assert refusal(corpus=tmp_path / "file") == f"missing: {tmp_path / 'file' / RECEIPT}; run: make corpus"


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "sta', b"[]", b"3", b'"corpus"', b"\xff\xfe", b"{}",
                                     b'{"format": 1, "stage": "corpus"}'])  # fmt: skip
def test_a_damaged_receipt_is_refused_with_the_command_that_mends_it(tmp_path: Path, content: bytes) -> None:
    folder = make(tmp_path / "corpus")
    (folder / RECEIPT).write_bytes(content)
    # The file is there and young: make alone would do nothing.
    assert refusal(corpus=folder).endswith(f"; run: rm -r {folder} && make corpus")


def test_a_section_that_is_no_more_makes_a_receipt_stale(tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus")
    change_receipt(folder, lambda content: content["settings"].update(noise={"level_db": 3}))
    assert refusal(corpus=folder).startswith("stale: ")


def test_reading_a_finished_artefact_changes_nothing_on_disk(tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus")
    with crash_at(0):  # a build may lie on a disk that can only be read
        assert require(Settings(), corpus=folder)


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = STAGES["corpus"].format
    folder = make(tmp_path / "corpus")
    monkeypatch.setitem(STAGES, "corpus", Stage(("audio", "corpus"), format=99))
    redo = f"rm -r {folder} && make corpus"
    assert refusal(corpus=folder) == f"stale: {folder} has format {made}, this version 99; run: {redo}"


def test_the_folder_of_another_stage_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus")
    assert refusal(features=folder) == f"stale: {folder} is of corpus, not of features; run: make features"


def test_an_input_made_again_with_another_result_is_noticed(tmp_path: Path) -> None:
    line = make_line(tmp_path)
    make(line["corpus"], content="two")
    message = refusal(corpus=line["corpus"], features=line["features"])
    assert message == f"stale: {line['features']} was made from another corpus; run: make features"


def test_an_input_made_again_with_the_same_result_is_good(tmp_path: Path) -> None:
    line = make_line(tmp_path)
    make(line["corpus"])
    assert len(require(Settings(), **line)) == 3


# --- interrupted work ---


def crash_inside(folder: Path, given: Settings | None = None, stage: str = "corpus", **inputs: Path) -> Path:
    """Stop a stage when half of it is done; what it had finished stays in `.part`."""
    given = given or Settings()
    with suppress(Crash), making(folder, stage, given, require(given, **inputs)) as work:
        (work / "a.txt").write_text("half")
        raise Crash
    return folder.with_name(f"{folder.name}.part")


def kept(folder: Path, given: Settings | None = None, stage: str = "corpus", **inputs: Path) -> bool:
    """Whether the next run finds what the interrupted one had finished."""
    given = given or Settings()
    with making(folder, stage, given, require(given, **inputs)) as work:
        return (work / "a.txt").exists()


def test_a_crash_inside_leaves_the_old_artefact_whole_and_keeps_the_part(tmp_path: Path) -> None:
    folder = make(tmp_path / "corpus")
    before = tree(folder)
    part = crash_inside(folder)
    assert tree(folder) == before
    assert require(Settings(), corpus=folder)
    assert (part / "a.txt").read_text() == "half"
    assert not (part / RECEIPT).exists()


def test_a_crash_in_the_first_run_leaves_nothing_that_passes_for_an_artefact(tmp_path: Path) -> None:
    crash_inside(tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    assert refusal(corpus=tmp_path / "corpus").startswith("missing: ")


def test_a_part_is_taken_up_again(tmp_path: Path) -> None:
    crash_inside(tmp_path / "corpus")
    assert kept(tmp_path / "corpus")
    assert list(tree(tmp_path)) == ["corpus/a.txt", f"corpus/{RECEIPT}"]
    assert require(Settings(), corpus=tmp_path / "corpus")


def test_a_part_of_settings_that_the_stage_does_not_read_is_taken_up(tmp_path: Path) -> None:
    crash_inside(tmp_path / "corpus")
    assert kept(tmp_path / "corpus", settings(model={"dropout": 0.75}))


def test_a_part_of_other_settings_is_thrown_away(tmp_path: Path) -> None:
    crash_inside(tmp_path / "corpus")
    assert not kept(tmp_path / "corpus", settings(corpus={"seed": 99}))


def test_a_part_of_another_input_is_thrown_away(tmp_path: Path) -> None:
    corpus = make(tmp_path / "corpus")
    crash_inside(tmp_path / "features", stage="features", corpus=corpus)
    make(corpus, content="two")
    assert not kept(tmp_path / "features", stage="features", corpus=corpus)


def test_a_part_of_another_format_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_inside(tmp_path / "corpus")
    monkeypatch.setitem(STAGES, "corpus", Stage(("audio", "corpus"), format=99))
    assert not kept(tmp_path / "corpus")


@pytest.mark.parametrize("plan", [None, b"", b'{"format": 1'])
def test_a_part_that_does_not_say_what_it_is_is_thrown_away(tmp_path: Path, plan: bytes | None) -> None:
    part = crash_inside(tmp_path / "corpus")
    (part / PLAN).unlink()
    if plan is not None:
        (part / PLAN).write_bytes(plan)
    assert not kept(tmp_path / "corpus")


# --- a crash at every point ---


@contextmanager
def crash_at(n: int) -> Iterator[None]:
    """Crash at the n-th change on disk; `Path` and `shutil.rmtree` come down to these calls."""
    changes = itertools.count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            if next(changes) == n:
                raise Crash
            return call(*args, **kwargs)

        return instead

    def write_text(path: Path, text: str, encoding: str = "utf-8") -> None:
        path.write_bytes(text[: len(text) // 2].encode(encoding))
        if next(changes) == n:
            raise Crash
        path.write_bytes(text.encode(encoding))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(Path, "write_text", write_text)
        yield


def states_after_crashes(before: Path, action: Callable[[Path], object]) -> Iterator[Path]:
    """What `action` leaves of the folder `before` when it crashes at its first change, at its second, and so on."""
    for n in itertools.count():
        state = before.with_name(f"{before.name}-{n}")
        shutil.copytree(before, state)
        try:
            with crash_at(n):
                action(state)
            return
        except Crash:
            yield state


def make_two(build: Path) -> None:
    make(build / "corpus", content="two")


def whole(build: Path) -> str | None:
    """Which artefact a reader gets, every file of it from one run; None if it is told that there is none."""
    try:
        (made,) = require(Settings(), corpus=build / "corpus")
    except StaleInput:
        assert not (build / "corpus").exists()
        return None
    assert set(made.files) == {"a.txt", "sub/b.txt"}
    (content,) = {(build / "corpus" / name).read_text() for name in made.files}
    return content


# What there is before the run, and what of it a reader gets.
STARTS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "nothing": (Path.mkdir, None),
    "an artefact": (lambda build: make(build / "corpus"), "one"),
    "an artefact and half of the next": (lambda build: crash_inside(make(build / "corpus")), "one"),
    "an artefact and a half with other settings": (
        lambda build: crash_inside(make(build / "corpus"), settings(corpus={"seed": 99})),
        "one",
    ),
}


@pytest.mark.parametrize("start", STARTS)
def test_a_crash_at_any_point_leaves_a_whole_artefact_and_the_next_run_ends_well(tmp_path: Path, start: str) -> None:
    prepare, old = STARTS[start]
    prepare(tmp_path / "build")
    seen = []
    for crashed in states_after_crashes(tmp_path / "build", make_two):
        read_first = Path(shutil.copytree(crashed, tmp_path / f"{crashed.name}-read"))
        seen.append(whole(read_first))  # reading mends: the next run finds another state than without
        for state in (crashed, read_first):
            make_two(state)
            assert whole(state) == "two"
            assert [path.name for path in state.iterdir()] == ["corpus"]
            assert list(tree(state / "corpus")) == ["a.txt", RECEIPT, "sub/b.txt"]
    assert old in seen
    assert set(seen) <= {old, "two"}


def test_a_second_crash_while_the_first_is_mended_does_no_harm(tmp_path: Path) -> None:
    make(tmp_path / "build" / "corpus")
    for crashed in states_after_crashes(tmp_path / "build", make_two):
        for crashed_again in states_after_crashes(crashed, make_two):
            assert whole(crashed_again) in ("one", "two")


def test_a_reader_that_crashes_while_it_mends_does_no_harm(tmp_path: Path) -> None:
    make(tmp_path / "build" / "corpus")

    def read(build: Path) -> None:
        with suppress(StaleInput):
            require(Settings(), corpus=build / "corpus")

    mended = 0
    for crashed in states_after_crashes(tmp_path / "build", make_two):
        for reading in states_after_crashes(crashed, read):
            mended += 1
            assert whole(reading) in ("one", "two")
    assert mended


def test_a_part_that_is_half_thrown_away_is_not_taken_up(tmp_path: Path) -> None:
    shards = {f"{number}.npy" for number in range(10)}

    def interrupted(build: Path) -> None:
        with making(build / "corpus", "corpus", Settings()) as work:
            for name in shards:
                (work / name).write_text("finished")
            raise Crash

    (tmp_path / "build").mkdir()
    with suppress(Crash):
        interrupted(tmp_path / "build")

    def make_other(build: Path) -> None:
        make(build / "corpus", given=settings(corpus={"seed": 99}))

    for crashed in states_after_crashes(tmp_path / "build", make_other):
        # Back to the first settings: all that was finished is there, or nothing is.
        with making(crashed / "corpus", "corpus", Settings()) as work:
            found = {path.name for path in work.iterdir()} & shards
        assert found in (shards, set())


def test_what_was_finished_is_not_done_again_wherever_the_crash_came(tmp_path: Path) -> None:
    runs = []

    def run(build: Path) -> None:
        with making(build / "corpus", "corpus", Settings()) as work:
            runs.append("goes on" if (work / "a.txt").exists() else "begins")
            (work / "a.txt").touch()

    (tmp_path / "build").mkdir()
    for crashed in states_after_crashes(tmp_path / "build", run):
        if (crashed / "corpus").exists():
            continue  # it is made: nobody runs it again
        finished = any(crashed.rglob("a.txt"))
        run(crashed)
        assert finished == (runs[-1] == "goes on")
    assert set(runs) == {"begins", "goes on"}


# --- what make compares ---


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of recordings."""
    for name in ("yes/1.wav", "yes/2.wav", "no/1.wav"):
        recording(tmp_path / "source" / name)
    return tmp_path / "source"


def recording(path: Path, content: bytes = b"sound", mtime_ns: int = 10**18) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "added": lambda folder: recording(folder / "yes" / "3.wav"),
    "added in a new folder": lambda folder: recording(folder / "up" / "1.wav"),
    "removed": lambda folder: (folder / "yes" / "2.wav").unlink(),
    "renamed": lambda folder: (folder / "yes" / "2.wav").rename(folder / "yes" / "4.wav"),
    "another word": lambda folder: (folder / "yes" / "2.wav").rename(folder / "no" / "2.wav"),
    "another time": lambda folder: recording(folder / "yes" / "2.wav", mtime_ns=10**18 + 1),
    "another size": lambda folder: recording(folder / "yes" / "2.wav", b"sounds"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_listing_sees_a_file(source: Path, change: str) -> None:
    before = listing_digest(source)
    CHANGES[change](source)
    assert listing_digest(source) != before


def test_a_listing_sees_nothing_where_nothing_changed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listing_digest(source)
    backwards = [(folder, names, files[::-1]) for folder, names, files in os.walk(source)][::-1]
    monkeypatch.setattr(os, "walk", lambda *_, **__: iter(backwards))
    assert listing_digest(source) == before


def test_a_listing_may_leave_a_folder_out(source: Path) -> None:
    """What lies in it and anywhere below, and nothing beside it."""
    before = listing_digest(source, without="clips")
    recording(source / "yes" / "clips" / "a" / "1.wav")
    assert listing_digest(source, without="clips") == before != listing_digest(source)
    recording(source / "yes" / "4.wav")
    assert listing_digest(source, without="clips") != before


def test_a_listing_does_not_depend_on_the_folder(source: Path, tmp_path: Path) -> None:
    before = listing_digest(source)
    assert listing_digest(source.rename(tmp_path / "moved")) == before


def test_a_listing_sees_a_link_lead_to_something_else(source: Path, tmp_path: Path) -> None:
    # As when `git annex get` brings the content of a file that is a link.
    (source / "yes" / "3.wav").symlink_to(tmp_path / "store" / "3.wav")
    nowhere = listing_digest(source)
    recording(tmp_path / "store" / "3.wav")
    there = listing_digest(source)
    recording(tmp_path / "store" / "3.wav", b"another sound", 2 * 10**18)
    assert len({nowhere, there, listing_digest(source)}) == 3


def test_a_listing_sees_a_take_added_to_a_word_that_is_a_link(source: Path, tmp_path: Path) -> None:
    recording(tmp_path / "elsewhere" / "1.wav")
    (source / "up").symlink_to(tmp_path / "elsewhere")
    before = listing_digest(source)
    recording(tmp_path / "elsewhere" / "2.wav")
    assert listing_digest(source) != before


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux only")
def test_a_listing_takes_any_name(source: Path) -> None:
    before = listing_digest(source)
    recording(Path(os.fsdecode(os.fsencode(source) + b"/yes/caf\xe9.wav")))
    assert listing_digest(source) != before


def age(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, ns=(10**18, 10**18))


def touched(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.stat().st_mtime_ns != 10**18}


def test_settings_are_written_section_by_section(tmp_path: Path) -> None:
    write_settings(tmp_path / "settings", Settings())
    sections = {name: Settings().section(name) for name in config.SECTIONS}
    written = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "settings").iterdir()}
    assert written == {**sections, "source": {}, "negative": {}}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, set()),
        ({"features": {"n_mfcc": 13}}, {"features.json"}),
        ({"corpus": {"keywords": ["früh"]}, "train": {"seed": 99}}, {"corpus.json", "train.json"}),
    ],
)
def test_settings_touch_only_what_changed(tmp_path: Path, now: dict[str, Any], expected: set[str]) -> None:
    write_settings(tmp_path, Settings())
    age(tmp_path)
    write_settings(tmp_path, settings(**now))
    assert touched(tmp_path) == expected
    age(tmp_path)
    write_settings(tmp_path, settings(**now))
    assert touched(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "section", "values"), [("source", "corpus", {"kind": "folder"}), ("negative", "streams", {})]
)
def test_settings_see_a_recording_added_to_a_folder(
    name: str, section: str, values: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    given = settings(**{section: {**values, name: str(source)}})
    written = tmp_path / "settings"
    write_settings(written, given)
    age(written)
    write_settings(written, given)
    assert touched(written) == set()
    recording(source / "yes" / "3.wav")
    write_settings(written, given)
    assert touched(written) == {f"{name}.json"}


@pytest.mark.parametrize(
    ("source", "negative", "message"),
    [
        ("mine", "none", "none: no such folder; NEGATIVE must be a folder of recordings"),
        ("mine", "mine", "mine: NEGATIVE and SOURCE hold the same recordings"),
        ("mine", "mine/radio", "mine/radio: NEGATIVE and SOURCE hold the same recordings"),
        ("mine/words", "mine", "mine: NEGATIVE and SOURCE hold the same recordings"),
    ],
)
def test_recordings_with_and_without_keywords_must_not_be_the_same(
    source: str, negative: str, message: str, tmp_path: Path
) -> None:
    for name in ("mine/words", "mine/radio"):
        (tmp_path / name).mkdir(parents=True)
    corpus = {"kind": "folder", "source": str(tmp_path / source)}
    with pytest.raises(SettingsError, match=f"^{tmp_path}/{message}"):
        write_settings(tmp_path / "settings", settings(corpus=corpus, streams={"negative": str(tmp_path / negative)}))
    assert not (tmp_path / "settings").exists()


def test_settings_half_written_are_written_again(tmp_path: Path) -> None:
    write_settings(tmp_path, Settings())
    whole_file = (tmp_path / "audio.json").read_text()
    (tmp_path / "audio.json").write_text(whole_file[:20])
    write_settings(tmp_path, Settings())
    assert (tmp_path / "audio.json").read_text() == whole_file
