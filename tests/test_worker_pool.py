"""Processes that share work end well."""

import os
import signal
import sys
import time
from typing import Any

import pytest

from speech_enhancement.errors import UserError
from speech_enhancement.files.workers import DIED, as_completed, each_apart, worker_pool


def test_the_results_of_all_workers_come_back_and_each_has_one_thread():
    with worker_pool(2) as pool:
        results = set(as_completed([pool.submit(pow, 2, power) for power in range(5)]))
        threads = pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result()
    assert results == {1, 2, 4, 8, 16}
    assert threads == "1"


def test_a_worker_that_is_killed_is_told_in_a_sentence():
    with pytest.raises(UserError, match="A worker process was killed"), worker_pool(1) as pool:
        pool.submit(signal.raise_signal, signal.SIGKILL).result()


def die_while_writing(_: int) -> None:
    """End this process in the middle of a result, as the system does when memory is full."""
    frame: Any = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    queue = frame.f_locals["result_queue"]
    queue._wlock.acquire()
    os.write(queue._writer.fileno(), (1000).to_bytes(4) + b"only a part")
    signal.raise_signal(signal.SIGKILL)


# Kind: a process that dies while others wait for what it holds.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_while_it_writes_a_result_keeps_nobody_waiting(workers):
    with (
        pytest.raises(UserError, match="A worker process was killed"),
        worker_pool(workers) as pool,
    ):
        list(as_completed([pool.submit(die_while_writing, number) for number in range(4)]))


@pytest.mark.timeout(60)
def test_watching_and_ending_a_pool_at_the_same_time_close_its_results_once(monkeypatch):
    with pytest.raises(UserError, match="A worker process was killed"), worker_pool(1) as pool:
        writer = pool._result_queue._writer

        def slowly_closed():
            os.close(writer.fileno())
            time.sleep(0.5)

        monkeypatch.setattr(writer, "_close", slowly_closed)
        pool.submit(die_while_writing, 0).result()


def test_a_task_that_ends_its_process_costs_only_itself():
    tasks = {"a": (signal.SIGCHLD,), "b": (signal.SIGKILL,), "c": (signal.SIGCHLD,)}
    assert dict(each_apart(signal.raise_signal, tasks, 1)) == {"a": None, "b": DIED, "c": None}
