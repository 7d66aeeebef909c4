"""A task in a process of its own: for libraries that keep state, or that end the process they fail in."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import TypeVar

from pipeline.errors import PipelineError

T = TypeVar("T")


def in_fresh_process(context: BaseContext, broken_off: str, task: Callable[..., T], *arguments: object) -> T:
    """Result of a task, run in a process of its own.

    An executor would do, but leaves its idle processes behind when this one is killed.

    Raises
    ------
    PipelineError
        If the process ends without an answer; `broken_off` says what that means and what to do.
    """
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, task, *arguments), daemon=True)  # type: ignore[attr-defined]
    process.start()
    sender.close()
    try:
        result: T | Exception = receiver.recv()
    except EOFError:
        process.join()
        raise PipelineError(f"{broken_off} (exit code {process.exitcode})") from None
    process.join()
    if isinstance(result, Exception):
        raise result
    return result


def _answer(sender: Connection, task: Callable[..., T], *arguments: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    try:
        result: T | Exception = task(*arguments)
    except Exception as error:
        result = error
    with suppress(BrokenPipeError):  # nobody waits any more
        sender.send(result)
