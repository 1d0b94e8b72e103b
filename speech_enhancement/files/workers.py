"""Processes that share the work of one command, with one thread each.

This is the only place that knows how they are started and what becomes of one that dies.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from speech_enhancement.errors import UserError

DIED = "its process was killed"
# How long the executor has to notice a death by itself, s.
NOTICE_S = 2.0
ONE_DIED = "{} was killed, perhaps because the memory was full; try fewer {}"
# Read by the libraries of a new process when they load. The last two let glibc keep the memory of
# arrays for the next ones, where it would return it to the system every time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}


class Processes(ProcessPoolExecutor):
    """Processes of one thread each, which start afresh, ignore Ctrl-C, and end with this process.

    Args:
        workers: how many.
        initializer: called first in each of them, with `arguments`.
        arguments: what the processes keep; sent once.
    """

    def __init__(
        self, workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
    ) -> None:
        os.environ.update(ENVIRONMENT)
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, context, _start, (initializer, *arguments))
        self._watched: set[int] = set()
        # Whoever watches a process may close it at the same moment as the executor.
        writer = cast(Any, self._result_queue)._writer
        writer.close = _one_at_a_time(writer.close)

    def submit(self, *work: Any, **arguments: Any) -> concurrent.futures.Future[Any]:
        """See `concurrent.futures.Executor.submit`, which starts the processes."""
        with without_interrupts():
            future = super().submit(*work, **arguments)
        family, results = self._processes or {}, cast(Any, self._result_queue)
        for number in family.keys() - self._watched:
            self._watched.add(number)
            watch = (family[number], family, results._writer)
            threading.Thread(target=_end_after_death, args=watch, daemon=True).start()
        return future


def _end_after_death(process: Any, family: Mapping[int, Any], writer: Connection) -> None:
    """Let an executor see that one of its processes was killed while it wrote a result.

    The executor waits for the rest of that result as long as anybody could still write it, and the
    others wait for the lock that the dead process held. This thread ends all who could.
    """
    wait([process.sentinel])
    time.sleep(NOTICE_S)
    if process.exitcode:
        for other in list(family.values()):
            with contextlib.suppress(ValueError):  # closed meanwhile
                other.kill()
        writer.close()


def _one_at_a_time(function: Callable[[], None]) -> Callable[[], None]:
    """A function that one thread at a time can be in."""
    lock = threading.Lock()

    def locked() -> None:
        with lock:
            function()

    return locked


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from this thread, and for good from processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):  # there, `_start` alone keeps it from them
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def naming_deaths(sentence: str) -> Iterator[None]:
    """Make a sentence of what a process raises that dies while its results are awaited.

    Raises:
        UserError: one died.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise UserError(sentence) from error


@contextlib.contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """`Processes` that end with the block.

    Raises:
        UserError: one of them was killed.
    """
    pool = Processes(workers, initializer, *arguments)
    try:
        with naming_deaths(ONE_DIED.format("A worker process", "`--workers`, or fewer `--jobs`")):
            yield pool
    except (KeyboardInterrupt, GeneratorExit):
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


Pool = Callable[[int], contextlib.AbstractContextManager[ProcessPoolExecutor]]


def each_apart(
    function: Callable[..., Any],
    tasks: Mapping[Any, tuple[Any, ...]],
    workers: int,
    pool: Pool = worker_pool,
) -> Iterator[tuple[Any, Any]]:
    """Results of tasks, any of which may end the process that does it.

    If a process dies, each task that was left is tried once more, alone, so that only the one that
    kills its process is lost.

    Args:
        function: what is done.
        tasks: its arguments, by a name for each task.
        workers: processes, at most.
        pool: starts so many of them, prepared for their work.

    Returns:
        Names and results, in the order in which they are done; `DIED` in place of a result.
    """
    left = dict(tasks)
    with contextlib.suppress(BrokenProcessPool):
        for name, result in _through_pool(function, tasks, pool(min(workers, len(tasks)))):
            del left[name]
            yield name, result
    for name, arguments in left.items():
        try:
            yield from _through_pool(function, {name: arguments}, pool(1))
        except BrokenProcessPool:
            yield name, DIED


def _through_pool(
    function: Callable[..., Any],
    tasks: Mapping[Any, tuple[Any, ...]],
    pool: contextlib.AbstractContextManager[ProcessPoolExecutor],
) -> Iterator[tuple[Any, Any]]:
    """Names and results of tasks from new processes.

    Raises:
        BrokenProcessPool: one of them died.
    """
    died = False
    with pool as executor:
        futures = {executor.submit(function, *arguments): name for name, arguments in tasks.items()}
        for future in concurrent.futures.as_completed(futures):
            died = died or isinstance(future.exception(), BrokenProcessPool)
            if not died:
                yield futures[future], future.result()
    if died:
        raise BrokenProcessPool


def as_completed(futures: list[concurrent.futures.Future[Any]]) -> Iterator[Any]:
    """Results in the order in which they come."""
    for future in concurrent.futures.as_completed(futures):
        yield future.result()


def _start(initializer: Callable[..., None] | None, *arguments: Any) -> None:
    """Watch the parent before the first piece of work."""
    threading.Thread(target=die_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def die_with_parent() -> None:
    """End this process when the one that started it ends, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
