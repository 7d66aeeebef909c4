"""Archives from the network: fetched so that a cut connection costs nothing, unpacked so that they can't do harm."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

import requests
import rich.progress
from rich.console import Console
from rich.filesize import decimal
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from pipeline.errors import DownloadError
from pipeline.receipt import sha256

BASE_URL = "https://storage.googleapis.com/download.tensorflow.org/data/"
MAX_UNPACKED_BYTES = 8 * 2**30  # twice the largest release
BLOCK_BYTES = 1 << 16
TIMEOUT_S = (10, 60)  # to connect, and between two blocks


@dataclass(frozen=True)
class Archive:
    """One published archive, as it must arrive."""

    name: str
    size_bytes: int
    sha256: str

    @property
    def folder_name(self) -> str:
        return self.name.removesuffix(".tar.gz").removesuffix(".zip")


def obtain(archive: Archive, folder: Path, base_url: str = BASE_URL) -> Path:
    """Folder of the unpacked archive below `folder`, downloaded unless it is there; the archive itself is not kept.

    Raises
    ------
    DownloadError
        See `fetch` and `extract`.
    """
    unpacked = folder / archive.folder_name
    if not unpacked.is_dir():
        path = fetch(archive, folder, base_url)
        extract(path, unpacked)
        path.unlink()
    return unpacked


def fetch(archive: Archive, folder: Path, base_url: str = BASE_URL) -> Path:
    """Download an archive into `folder`, going on where an earlier download was cut off.

    Returns
    -------
    path
        The archive, its sha256 checked.

    Raises
    ------
    DownloadError
        If the network or the disk fails (what arrived is kept as `.part`), or if the sha256 is wrong.
    """
    path, url = folder / archive.name, base_url + archive.name
    if path.exists():  # left by an interrupted unpacking, or put there by hand
        if sha256(path) != archive.sha256:
            raise DownloadError(f"{path}: not the published archive, its sha256 differs; delete it and run again")
        return path
    part = path.with_name(f"{archive.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _receive(url, part, archive.size_bytes)
    except requests.RequestException as error:
        raise DownloadError(
            f"{url}: the connection failed ({type(error).__name__}); run again to go on from where it stopped"
        ) from None
    except OSError as error:
        raise DownloadError(f"{part}: {error.strerror}; mend that and run again to go on") from None
    if sha256(part) != archive.sha256:
        part.unlink()
        raise DownloadError(f"{url}: what arrived is not the published archive, its sha256 differs; deleted, run again")
    part.rename(path)
    return path


def extract(archive_path: Path, folder: Path) -> None:
    """Unpack a `.tar.gz` or `.zip` into `folder`, which must not exist yet; only when all is well it appears.

    Nothing but names and bytes is taken from the archive: no links, devices, owners or modes.

    Raises
    ------
    DownloadError
        If a member is a link or a device or would land outside, if there is more than the disk or
        `MAX_UNPACKED_BYTES` holds, or if the archive is damaged.
    """
    work = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        _unpack(archive_path, work, min(MAX_UNPACKED_BYTES, shutil.disk_usage(work).free))
        work.rename(folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"{archive_path}: damaged ({error}); delete it and run again") from None
    except OSError as error:
        raise DownloadError(f"{archive_path}: unpacking into {folder}: {error.strerror}; run again") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _receive(url: str, part: Path, size_bytes: int) -> None:
    """Fill `part` up to `size_bytes`."""
    have = part.stat().st_size if part.exists() else 0
    if have >= size_bytes:
        return
    free = shutil.disk_usage(part.parent).free
    if free < size_bytes - have:
        needed = f"{decimal(size_bytes - have)} needed for {url}, {decimal(free)} free"
        raise DownloadError(f"{part.parent}: {needed}; make room and run again")
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the server has no more than this: the sha256 decides
        if not response.ok:
            raise DownloadError(f"{url}: the server says {response.status_code} {response.reason}; run again later")
        if response.status_code != requests.codes.partial_content:
            have = 0  # it sends the whole file, whatever was asked
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        with part.open("ab" if have else "wb") as file, Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(part.stem, total=size_bytes, completed=have)
            for block in response.iter_content(BLOCK_BYTES):
                file.write(block)
                have += len(block)
                progress.update(task, completed=have)
                if have > size_bytes:
                    break  # not the archive, and perhaps endless
    if have < size_bytes:
        ended = f"the server stopped after {decimal(have)} of {decimal(size_bytes)}"
        raise DownloadError(f"{url}: {ended}; run again to go on from there")


def _unpack(archive_path: Path, work: Path, limit_bytes: int) -> None:
    written = 0
    console = Console(stderr=True)
    with rich.progress.open(archive_path, "rb", description=f"unpack {archive_path.name}", console=console) as file:
        members = _zip_members(file) if archive_path.suffix == ".zip" else _tar_members(file)
        for name, content in members:
            # Windows rules know every form of absolute name, those of other systems too.
            path = PureWindowsPath(name)
            if path.anchor or ".." in path.parts or "\0" in name:
                raise DownloadError(
                    f"{archive_path}: refused, member {name!r} would land outside its folder; delete it"
                )
            if content is None:
                (work / name).mkdir(parents=True, exist_ok=True)
                continue
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            with content, (work / name).open("wb") as target:
                # What is written counts, not what a header claims.
                while block := content.read(BLOCK_BYTES):
                    written += len(block)
                    if written > limit_bytes:
                        allowed = f"{decimal(limit_bytes)} (free disk, at most {decimal(MAX_UNPACKED_BYTES)})"
                        raise DownloadError(f"{archive_path}: refused, unpacks to more than {allowed}; make room")
                    target.write(block)


def _tar_members(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each member; None is a folder."""
    with tarfile.open(fileobj=file, mode="r|gz") as archive:
        for member in archive:
            if not (member.isfile() or member.isdir()):
                raise DownloadError(f"{file.name}: refused, member {member.name!r} is a link or a device; delete it")
            yield member.name, archive.extractfile(member)


def _zip_members(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 in archives made where files have no Unix mode
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(
                    f"{file.name}: refused, member {member.filename!r} is a link or a device; delete it"
                )
            yield member.filename, None if member.is_dir() else archive.open(member)
