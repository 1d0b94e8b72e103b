"""Processes that share out the work of one command, one thread each."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from errors import UserError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes that start afresh, and end with the block or with this process.

    Args:
        workers: how many.
        initializer: called first in each of them, with `arguments`.
        arguments: what the processes keep; sent once.

    Raises:
        UserError: one of them was killed.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"  # read by the libraries of the new processes when they load
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start, (initializer, *arguments)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "A worker process was killed, perhaps for want of memory; try fewer `--workers`"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def as_completed(futures: list[concurrent.futures.Future[Any]]) -> Iterator[Any]:
    """Results in the order in which they come."""
    for future in concurrent.futures.as_completed(futures):
        yield future.result()


def _start(initializer: Callable[..., None] | None, *arguments: Any) -> None:
    """Leave Ctrl-C to the parent, and watch it, before the first piece of work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _die_with_parent() -> None:
    """End this process when the one that started it ends, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
