"""Features by the workers of a Dask cluster: the same bytes as by this machine, whatever becomes of a worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest
from conftest import TINY

from pipeline.config import load
from pipeline.corpora import cluster
from pipeline.errors import PipelineError, SettingsError
from pipeline.stages import features


@pytest.fixture
def security(tmp_path: Path) -> Iterator[distributed.Security]:
    """A key and a certificate of one's own, by which scheduler, workers and client know each other."""
    if not shutil.which("openssl"):
        pytest.skip("openssl isn't installed, which makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
    subprocess.run(
        ["openssl", "req", "-x509", *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    files = {"ca-file": str(certificate)}
    for who in ("client", "scheduler", "worker"):
        files |= {f"{who}.key": str(key), f"{who}.cert": str(certificate)}
    with dask.config.set({f"distributed.comm.tls.{name}": path for name, path in files.items()}):
        yield distributed.Security(require_encryption=True)


@pytest.fixture
def two_workers(security: distributed.Security) -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        protocol="tls://",
        host="127.0.0.1",
        dashboard_address=None,
        security=security,
    ) as workers:
        yield workers


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_time(
    two_workers: distributed.LocalCluster, tiny_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with distributed.Client(two_workers) as client:
        processes = client.run(os.getpid)
    assert len(processes) == 2
    victim = next(iter(processes.values()))
    done = []

    def watched(results: Iterable[Any], *_: Any, **__: Any) -> Iterator[Any]:
        for result in results:
            if not done:
                os.kill(victim, signal.SIGKILL)
            done.append(result)
            yield result

    monkeypatch.setattr(features, "track", watched)
    features.run(load(TINY), tiny_build / "corpus", tmp_path / "features", two_workers.scheduler_address)
    assert len(done) > 5  # shards, so that it was killed midway
    assert content(tmp_path / "features") == content(tiny_build / "features")


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "tcp://example.org:8786", "tcp://[2001:db8::1]:8786"])
def test_a_scheduler_elsewhere_wants_tls(address: str) -> None:
    with pytest.raises(SettingsError, match="anyone could send it work without TLS"), cluster.workers(address):
        pass


@pytest.mark.parametrize("address", ["8786", "http://127.0.0.1:8786", "tls://", "localhost:8786"])
def test_what_is_no_address_of_a_scheduler_is_said(address: str) -> None:
    with pytest.raises(SettingsError, match=r"such as tls://host:8786"), cluster.workers(address):
        pass


def test_a_scheduler_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.2)
    with pytest.raises(PipelineError, match="no scheduler answers"), cluster.workers("tcp://127.0.0.1:9"):
        pass
