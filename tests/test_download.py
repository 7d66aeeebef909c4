"""Downloads against a local server; archives that must be refused."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import random
import shutil
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.corpora import download
from pipeline.corpora.download import Archive, extract, fetch, obtain
from pipeline.errors import DownloadError

CONTENT = random.Random(1).randbytes(1_000_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path."""

    content = CONTENT
    cut_after: int | None = None  # close the connection after so many bytes
    knows_ranges = True
    status: int | None = None  # answer this instead

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.hung_up = threading.Event()  # the client went away before the end

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: server.cut_after])
        except ConnectionError:
            server.hung_up.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def archive_of(content: bytes, name: str = "words.tar.gz") -> Archive:
    return Archive(name, len(content), hashlib.sha256(content).hexdigest())


def tar_of(*members: tuple[str | tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return buffer.getvalue()


def tar_member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zip_link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- fetch ---


def test_fetch_leaves_only_the_checked_archive(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch(archive_of(CONTENT), tmp_path / "data", server.url)
    assert tree(tmp_path) == {"data/words.tar.gz": CONTENT}
    assert path == tmp_path / "data" / "words.tar.gz"
    assert capsys.readouterr().out == ""


def test_fetch_goes_on_after_a_cut_connection(server: Server, tmp_path: Path) -> None:
    server.cut_after = 300_000
    with pytest.raises(DownloadError, match=r"words\.tar\.gz: the connection failed .*run again to go on"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    kept = (tmp_path / "words.tar.gz.part").stat().st_size
    assert 200_000 < kept <= 300_000
    server.cut_after = None
    fetch(archive_of(CONTENT), tmp_path, server.url)
    assert server.ranges == [None, f"bytes={kept}-"]
    assert tree(tmp_path) == {"words.tar.gz": CONTENT}


def test_fetch_starts_over_where_the_server_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "words.tar.gz.part").write_bytes(CONTENT[:1000])
    fetch(archive_of(CONTENT), tmp_path, server.url)
    assert tree(tmp_path) == {"words.tar.gz": CONTENT}


def test_fetch_only_checks_a_part_that_is_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / "words.tar.gz.part").write_bytes(CONTENT)
    fetch(archive_of(CONTENT), tmp_path, server.url)
    assert server.ranges == []
    assert tree(tmp_path) == {"words.tar.gz": CONTENT}


def test_fetch_drops_a_part_that_the_server_has_no_more_of(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:5000]  # another, shorter file than the published one
    (tmp_path / "words.tar.gz.part").write_bytes(CONTENT[:5000])
    with pytest.raises(DownloadError, match="not the published archive, its sha256 differs; deleted"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    assert tree(tmp_path) == {}


def test_fetch_hangs_up_on_a_body_that_is_too_long(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT + bytes(20_000_000)
    with pytest.raises(DownloadError, match="what arrived is not the published archive"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    assert server.hung_up.wait(timeout=5)


def test_fetch_deletes_what_is_not_the_archive(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=r"words\.tar\.gz: what arrived is not the published archive"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    assert tree(tmp_path) == {}


def test_fetch_says_when_the_file_on_the_server_is_too_short(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:5000]
    with pytest.raises(DownloadError, match=r"stopped after 5\.0 kB of 1\.0 MB; run again"):
        fetch(archive_of(CONTENT), tmp_path, server.url)


def test_fetch_names_the_status_of_a_refusal(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match=r"words\.tar\.gz: the server says 404 Not Found"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    assert tree(tmp_path) == {}


def test_fetch_without_a_network_is_one_line(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(DownloadError, match=r"the connection failed \(ConnectionError\)") as caught:
        fetch(archive_of(CONTENT), tmp_path, url)
    assert "\n" not in str(caught.value)


def test_fetch_asks_for_room_before_it_starts(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 400_000, 400_000))
    with pytest.raises(DownloadError, match=r"1\.0 MB needed for .*, 400\.0 kB free; make room"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    assert server.ranges == []
    (tmp_path / "words.tar.gz.part").write_bytes(CONTENT[:700_000])  # what is there already needs no room
    fetch(archive_of(CONTENT), tmp_path, server.url)


def test_fetch_reports_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(DownloadError, match=r"data/words\.tar\.gz\.part: File exists"):
        fetch(archive_of(CONTENT), tmp_path / "data", server.url)


def test_fetch_uses_an_archive_put_there_by_hand_if_it_is_the_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "words.tar.gz").write_bytes(CONTENT)
    fetch(archive_of(CONTENT), tmp_path, server.url)
    (tmp_path / "words.tar.gz").write_bytes(b"another")
    with pytest.raises(DownloadError, match=r"words\.tar\.gz: not the published archive"):
        fetch(archive_of(CONTENT), tmp_path, server.url)
    assert server.ranges == []
    assert tree(tmp_path) == {"words.tar.gz": b"another"}  # a person's file is not deleted


def test_obtain_downloads_once_and_keeps_only_the_folder(server: Server, tmp_path: Path) -> None:
    server.content = tar_of(("./yes/1.wav", b"one"))
    archive = archive_of(server.content)
    assert obtain(archive, tmp_path, server.url) == tmp_path / "words"
    assert obtain(archive, tmp_path, server.url) == tmp_path / "words"
    assert len(server.ranges) == 1
    assert tree(tmp_path) == {"words/yes/1.wav": b"one"}


# --- extract ---


@pytest.mark.parametrize(("name", "pack"), [("a.tar.gz", tar_of), ("a.zip", zip_of)])
def test_extract_gives_the_files_back(name: str, pack, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(("./yes/1.wav", b"one"), ("no/2.wav", b"two"), ("LICENSE", b"")))
    extract(tmp_path / name, tmp_path / "out")
    assert tree(tmp_path / "out") == {"LICENSE": b"", "no/2.wav": b"two", "yes/1.wav": b"one"}


def test_extract_makes_folders_that_an_archive_lists(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tar_of((tar_member("./", tarfile.DIRTYPE), b""), ("./1.wav", b"one")))
    (tmp_path / "a.zip").write_bytes(zip_of(("yes/", b""), ("yes/1.wav", b"one")))
    extract(tmp_path / "a.tar.gz", tmp_path / "tar")
    extract(tmp_path / "a.zip", tmp_path / "zip")
    assert (tree(tmp_path / "tar"), tree(tmp_path / "zip")) == ({"1.wav": b"one"}, {"yes/1.wav": b"one"})


TAMPERED = {
    "up.tar.gz": tar_of(("ok.wav", b"1"), ("../x", b"2")),
    "up.zip": zip_of(("ok.wav", b"1"), ("../x", b"2")),
    "deep.zip": zip_of(("ok.wav", b"1"), ("a/../../x", b"2")),
    "absolute.tar.gz": tar_of(("ok.wav", b"1"), ("/tmp/x", b"2")),
    "absolute.zip": zip_of(("ok.wav", b"1"), ("/tmp/x", b"2")),
    "drive.zip": zip_of(("ok.wav", b"1"), ("C:/x", b"2")),
    "symlink.tar.gz": tar_of(("ok.wav", b"1"), (tar_member("x", tarfile.SYMTYPE, "/etc"), b"")),
    "hardlink.tar.gz": tar_of(("ok.wav", b"1"), (tar_member("x", tarfile.LNKTYPE, "ok.wav"), b"")),
    "device.tar.gz": tar_of(("ok.wav", b"1"), (tar_member("x", tarfile.CHRTYPE), b"")),
    "pipe.tar.gz": tar_of(("ok.wav", b"1"), (tar_member("x", tarfile.FIFOTYPE), b"")),
    "symlink.zip": zip_of(("ok.wav", b"1"), (zip_link("x"), b"/etc")),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_extract_refuses_a_tampered_archive_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(TAMPERED[name])
    with pytest.raises(
        DownloadError, match=rf"{name}: refused, member '.*x' (would land outside|is a link or a device)"
    ):
        extract(folder / name, folder / "out")
    assert list(tree(tmp_path)) == [f"deep/down/{name}"]
    assert not (folder / "out").exists()
    assert not (folder / "out.part").exists()


@pytest.mark.parametrize(("name", "pack"), [("bomb.tar.gz", tar_of), ("bomb.zip", zip_of)])
def test_extract_stops_a_bomb_by_the_sum_of_its_files(
    name: str, pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_UNPACKED_BYTES", 1_000_000)
    files = [(f"{number}.wav", bytes(400_000)) for number in range(3)]
    (tmp_path / name).write_bytes(pack(*files[:2]))
    extract(tmp_path / name, tmp_path / "fits")
    (tmp_path / name).write_bytes(pack(*files))
    with pytest.raises(DownloadError, match=rf"{name}: refused, unpacks to more than 1\.0 MB"):
        extract(tmp_path / name, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "fits"])


def test_extract_counts_what_a_sparse_member_grows_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_UNPACKED_BYTES", 1_000_000)
    member = tarfile.TarInfo("big.wav")  # holds one byte and claims ten megabytes
    member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "10000000", "GNU.sparse.major": "0"}
    member.size = 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(b"1"))
    (tmp_path / "a.tar.gz").write_bytes(buffer.getvalue())
    with pytest.raises(DownloadError, match="unpacks to more than"):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")


def test_extract_refuses_a_zip_whose_header_lies_about_the_size(tmp_path: Path) -> None:
    content = bytearray(zip_of(("1.wav", bytes(5_000_000))))
    size = (5_000_000).to_bytes(4, "little")
    assert content.count(size) == 2  # in the local and in the central header
    (tmp_path / "a.zip").write_bytes(bytes(content).replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(DownloadError, match=r"a\.zip: damaged"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_extract_respects_the_free_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(("1.wav", bytes(5000))))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 4000, 4000))
    with pytest.raises(DownloadError, match=r"more than 4\.0 kB \(free disk"):
        extract(tmp_path / "a.zip", tmp_path / "out")


DAMAGED = {
    "text.tar.gz": b"<html>",
    "text.zip": b"<html>",
    "cut.tar.gz": tar_of(("1.wav", CONTENT))[:500_000],
    "cut.zip": zip_of(("1.wav", CONTENT))[:500_000],
    "no_tar.tar.gz": gzip.compress(b"no tar inside" * 100),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_extract_says_that_an_archive_is_damaged(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(DownloadError, match=rf"{name}: damaged \(.*\); delete it"):
        extract(tmp_path / name, tmp_path / "out")
    assert list(tree(tmp_path)) == [name]


def test_extract_clears_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(("1.wav", b"one")))
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "half.wav").write_bytes(b"half")
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {"1.wav": b"one"}
