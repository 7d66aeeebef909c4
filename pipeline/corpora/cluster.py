"""Work for the machines of a Dask cluster that share a file system; without one, for the processors of this machine."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import joblib

from pipeline.errors import MissingExtra, PipelineError, SettingsError

_ANSWER_S = 10


@contextmanager
def workers(address: str) -> Iterator[int]:
    """Let joblib work on a cluster while the block runs, and say how many tasks at once.

    Parameters
    ----------
    address
        Of the scheduler: `tls://host:8786`, or `tcp://` to this machine; empty for processes of this machine. Keys and
        certificates are those of Dask's own configuration.

    Raises
    ------
    SettingsError
        If the address is none, or leads to another machine without TLS.
    PipelineError
        If no scheduler answers there, or it has no workers; if workers break off in the block, again and again.
    """
    if not address:
        try:
            yield joblib.cpu_count()
        except BrokenProcessPool:
            raise PipelineError("a process broke off; is memory short? what is done is kept: run it again") from None
        return
    _refuse_open(address)
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise MissingExtra("CLUSTER needs Dask; run: pip install '.[cluster]'") from None
    asyncio.run(_require_answer(address))
    with Client(address, timeout=_ANSWER_S, set_as_default=False) as client:
        count = sum(client.ncores().values())
        if not count:
            raise PipelineError(f"CLUSTER {address}: it has no workers; start some (dask worker {address})")
        try:
            with joblib.parallel_config("dask", client=client):
                yield count
        except KilledWorker as error:
            remedy = "see its log; what is done is kept: run it again"
            raise PipelineError(
                f"CLUSTER {address}: one worker after the other broke off ({error}); {remedy}"
            ) from None


async def _require_answer(address: str) -> None:
    """Dask's client would be a thread of its own by then, and complain of its end."""
    from distributed import Security
    from distributed.comm import connect

    try:
        connection = await connect(address, timeout=_ANSWER_S, **Security().get_connection_args("client"))
    except (OSError, TypeError, ValueError) as error:  # the last two of certificates that are missing or none
        remedy = "start one (dask scheduler), and see docs/performance.md for the certificates"
        raise PipelineError(f"CLUSTER {address}: no scheduler answers ({error}); {remedy}") from None
    await connection.close()


def _refuse_open(address: str) -> None:
    """A scheduler runs what anyone sends it, so the way there must be one that only those with a key can go."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    is_here = host == "localhost"
    with suppress(ValueError):
        is_here = ipaddress.ip_address(host).is_loopback
    if parts.scheme not in ("tls", "tcp") or not host:
        raise SettingsError(f"CLUSTER {address!r}: give the address of a Dask scheduler, such as tls://host:8786")
    if parts.scheme == "tcp" and not is_here:
        raise SettingsError(f"CLUSTER {address}: anyone could send it work without TLS; set it up with tls://")
