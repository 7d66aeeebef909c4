"""What a stage leaves beside its files: how they were made, and from what.

A stage works in `X.part` and only a finished folder becomes `X`, so that a crash at any point leaves the old
artefact whole; the next run mends what lies between and takes up what the interrupted run had finished.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.config import SECTIONS, Settings
from pipeline.errors import SettingsError, StaleInput

RECEIPT = "receipt.json"
PLAN = "plan.json"


@dataclass(frozen=True)
class Stage:
    """What a stage reads of the settings, and the number of its format: raise it when its files change meaning."""

    sections: tuple[str, ...]
    format: int = 1
    is_published: bool = False  # its receipt leaves out the settings: they hold the path of someone's recordings


STAGES = {
    "corpus": Stage(("audio", "corpus"), format=7),
    "features": Stage(("audio", "features", "augment"), format=2),
    "train": Stage(("model", "train")),
    "quantize": Stage(("quantize",), format=2),
    "export": Stage((), format=3),
    "tune": Stage(("listen", "streams"), format=2),
    "evaluate": Stage((), format=8),
    "bundle": Stage((), format=3, is_published=True),
    "report": Stage(("report",), format=2),
    "memory": Stage(("memory",)),
}
# What a stage reads besides in a build that goes on from another; all after it inherit that.
PERSONAL = {"corpus": ("personalise",)}


@dataclass(frozen=True)
class Receipt:
    """The settings of a stage and of all before it, digests of its inputs, sha256 of its files."""

    format: int
    stage: str
    settings: dict[str, dict[str, Any]]
    inputs: dict[str, str]
    files: dict[str, str]

    @property
    def digest(self) -> str:
        return hashlib.sha256(_dump(asdict(self)).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def making(folder: Path, stage: str, settings: Settings, inputs: Sequence[Receipt] = ()) -> Iterator[Path]:
    """Yield the folder `X.part` to fill; on success it replaces `X`, the receipt written last.

    What an interrupted run with the same settings and inputs left in `X.part` is still there.
    """
    _mend(folder)
    work, old = work_of(folder), _beside(folder, ".old")
    plan = _plan(stage, settings, inputs)
    if _read_json(work / PLAN) != plan:
        (work / PLAN).unlink(missing_ok=True)  # first, so that what is half thrown away is never taken up
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / PLAN).write_text(_dump(plan))
    yield work
    (work / RECEIPT).unlink(missing_ok=True)
    (work / RECEIPT).write_text(_dump({**plan, "files": _hashes(work)}))
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    _mend(folder)


def work_of(folder: Path) -> Path:
    """Where `making` works on a folder."""
    return _beside(folder, ".part")


def require(settings: Settings, **folders: Path) -> list[Receipt]:
    """Read the receipts of input folders, given by stage in the order of the line, or say why one may not be used.

    Raises
    ------
    StaleInput
        If one is missing, of another format, made by other settings than today's or from another folder than the
        one given here, or if a file in it changed since.
    """
    receipts: list[Receipt] = []
    for stage, folder in folders.items():
        _mend(folder)
        receipt = read(folder, stage)
        _check_settings(receipt, settings)
        for given in receipts:
            if receipt.inputs.get(given.stage, given.digest) != given.digest:
                raise StaleInput(f"stale: {folder} was made from another {given.stage}; run: make {stage}")
        check_files(receipt, folder)
        receipts.append(receipt)
    return receipts


def read(folder: Path, stage: str) -> Receipt:
    """Read the receipt in a folder that `stage` made, and look at nothing else there.

    Raises
    ------
    StaleInput
        If it is missing, damaged, of another stage or of another format.
    """
    path = folder / RECEIPT
    if not path.exists():
        raise StaleInput(f"missing: {path}; run: make {stage}")
    content = _read_json(path)
    if not isinstance(content, dict) or content.keys() != {field.name for field in fields(Receipt)}:
        raise StaleInput(f"damaged: {path} is no receipt; run: rm -r {folder} && make {stage}")
    receipt, wanted = Receipt(**content), STAGES[stage].format
    if receipt.stage != stage:
        raise StaleInput(f"stale: {folder} is of {receipt.stage}, not of {stage}; run: make {stage}")
    if receipt.format != wanted:
        found = f"{folder} has format {receipt.format}, this version {wanted}"
        raise StaleInput(f"stale: {found}; run: rm -r {folder} && make {stage}")
    return receipt


def listing_digest(source: Path, without: str = "") -> str:
    """Digest of an outside folder by sorted relative path, size and modification time; it reads no content.

    Folders of the name `without` are left out, for a corpus whose table lists what is in them: to look at millions of
    files would take minutes.

    Hidden files are left out: no corpus reads them, and a file manager may touch them. Of linked folders only those in
    `source` itself are followed, as the corpora do: a link may lead in a circle.
    """
    lines = []
    linked = sorted(path for path in source.glob("*") if path.is_symlink() and path.is_dir())
    for folder, inside, names in itertools.chain.from_iterable(map(os.walk, (source, *linked))):
        inside[:] = [name for name in inside if name != without]  # where it goes on
        for name in (name for name in names if not name.startswith(".")):
            path = os.path.join(folder, name)
            status = os.stat(path, follow_symlinks=os.path.exists(path))  # a link that leads nowhere counts as itself
            lines.append(f"{os.path.relpath(path, source)}\0{status.st_size}\0{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()


def write_settings(folder: Path, settings: Settings) -> None:
    """Write each section to `folder`, touching only what changed: these files are what `make` compares.

    Raises
    ------
    SettingsError
        If `folder` lies inside a folder of recordings: what is made there would be taken for some; or in the build that
        it is to start from; if recordings without keywords are missing, or are among those with them.
    """
    if settings.personalise.bundle and folder.resolve().parent == Path(settings.personalise.bundle).resolve().parent:
        raise SettingsError(f"{folder.parent}: BUNDLE lies in it, and would be replaced; choose another BUILD")
    source, negative = (Path(given).resolve() for given in (settings.corpus.source, settings.streams.negative))
    if settings.streams.negative and not negative.is_dir():
        raise SettingsError(f"{negative}: no such folder; NEGATIVE must be a folder of recordings")
    is_inside = negative.is_relative_to(source) or source.is_relative_to(negative)
    if settings.streams.negative and settings.corpus.source and is_inside:
        raise SettingsError(
            f"{negative}: NEGATIVE and SOURCE hold the same recordings; keep those without keywords apart"
        )
    contents = {name: settings.section(name) for name in asdict(settings)}
    recordings = settings.personalise.source or settings.corpus.source
    for name, given in {"source": recordings, "negative": settings.streams.negative}.items():
        if given and folder.resolve().is_relative_to(Path(given).resolve()):
            raise SettingsError(f"{folder.parent}: lies inside {name.upper()}, {given}; choose another BUILD")
        without = "clips" if name == "source" and settings.corpus.kind == "mswc" else ""
        contents[name] = {"listing": listing_digest(Path(given), without)} if given else {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / f"{name}.json"
        if _read_json(path) != content:
            path.write_text(_dump(content))


def _plan(stage: str, settings: Settings, inputs: Sequence[Receipt]) -> dict[str, Any]:
    besides = PERSONAL.get(stage, ()) if settings.personalise.bundle else ()
    sections = {name: settings.section(name) for name in (*STAGES[stage].sections, *besides)}
    inherited = {name: values for receipt in inputs for name, values in receipt.settings.items()}
    return {
        "format": STAGES[stage].format,
        "stage": stage,
        "settings": {} if STAGES[stage].is_published else inherited | sections,
        "inputs": {receipt.stage: receipt.digest for receipt in inputs},
    }


def _check_settings(receipt: Receipt, settings: Settings) -> None:
    for name, recorded in receipt.settings.items():
        today = settings.section(name) if name in SECTIONS else {}
        for key in sorted(recorded.keys() | today.keys()):
            if recorded.get(key) != today.get(key):
                reads = {stage: (*STAGES[stage].sections, *PERSONAL.get(stage, ())) for stage in STAGES}
                stage = next((stage for stage, sections in reads.items() if name in sections), receipt.stage)
                change = f"{name}.{key} was {recorded.get(key)!r}, now {today.get(key)!r}"
                raise StaleInput(f"stale: {change}; run: make {stage}")


def check_files(receipt: Receipt, folder: Path) -> None:
    """Refuse, as `StaleInput`, a folder in which a file is missing or isn't what was made."""
    for name, digest in receipt.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != digest:
            change = "was edited" if path.is_file() else "is missing"
            redo = f"rm -r {folder} && make {receipt.stage}"
            raise StaleInput(f"edited: {path} {change} since it was made; run: {redo}")


def _mend(folder: Path) -> None:
    """Finish the exchange of folders, or undo it where a crash cut it off halfway."""
    old = _beside(folder, ".old")
    if folder.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        if (folder / PLAN).exists():
            (folder / PLAN).unlink()
    elif old.exists():
        old.rename(folder)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(folder.name + ending)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files if path != folder / PLAN}


def _dump(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _read_json(path: Path) -> Any:
    """Content of a JSON file; None if it isn't there or isn't whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
