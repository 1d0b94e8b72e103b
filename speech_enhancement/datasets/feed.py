"""Batches of mixtures from worker processes, in order, ready before they are asked for.

Neither this module nor its workers import Keras: a worker starts in a second and stays small.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from speech_enhancement.files import workers as processes
from speech_enhancement.mixing.mixer import Mixer
from speech_enhancement.signal.features import Features

Batch = tuple[np.ndarray, np.ndarray]

_make: Callable[[int], Batch]


class BatchMaker:
    """Makes the network's input and target of a position of the training; sent to the workers.

    Args:
        mixer: draws the mixtures.
        features: what the network sees and must give.
        batch_size: mixtures in a batch.
        steps_per_epoch: batches in an epoch.
    """

    def __init__(
        self, mixer: Mixer, features: Features, batch_size: int, steps_per_epoch: int
    ) -> None:
        self.mixer = mixer
        self.features = features
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, position: int) -> Batch:
        """The batch number `position`, counted from the beginning of the first epoch."""
        epoch, index = divmod(position, self.steps_per_epoch)
        noisy, clean = self.mixer.batch(epoch, index, self.batch_size)
        return self.features.pair_of_waveforms(noisy, clean, self.mixer.audio)


class MixtureFeed:
    """Keeps the next batches in the making; the order of results never depends on the workers.

    Args:
        make: makes one batch.
        workers: processes; 0 makes each batch when it is asked for.
        prefetch: batches that may be ready or in the making at once.

    Attributes:
        waited_s: seconds spent waiting for batches.
    """

    def __init__(self, make: BatchMaker, workers: int, prefetch: int) -> None:
        self.make = make
        self.workers = workers
        self.prefetch = max(prefetch, 1)
        self.waited_s = 0.0
        self._executor: processes.Processes | None = None
        self._pending: dict[int, Future[Batch]] = {}

    def get(self, position: int) -> Batch:
        """The batch at `position`, and start on those after it.

        Raises:
            UserError: a worker died.
        """
        begin = time.perf_counter()
        died = processes.ONE_DIED.format("A mixing process", "`--mixing_workers`")
        try:
            if not self.workers:
                return self.make(position)
            with processes.naming_deaths(died):
                self._request(position)
                return self._pending.pop(position).result()
        finally:
            self.waited_s += time.perf_counter() - begin

    def close(self) -> None:
        """End the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None
        self._pending.clear()

    def _request(self, position: int) -> None:
        """Ask the workers for `position` and its successors, and forget about all others."""
        if self._executor is None:
            self._executor = processes.Processes(self.workers, _start_worker, self.make)
        wanted = range(position, position + self.prefetch + 1)
        for other in [p for p in self._pending if p not in wanted]:
            self._pending.pop(other).cancel()
        for new in wanted:
            if new not in self._pending:
                self._pending[new] = self._executor.submit(_work, new)


def _start_worker(make: BatchMaker) -> None:
    """Take what the worker needs."""
    global _make
    _make = make


def _work(position: int) -> Batch:
    """One batch, in a worker."""
    return _make(position)
