"""Several machines that train one network together, with JAX's distributed runtime.

Each of them runs the same command, draws and learns from its own part of every batch, and has the
same weights as the others after every step. Only the first one writes files and prints.

JAX aborts a process whose partners are gone, and may wait for them until then. So the training runs
in a process of its own, and the one that started it says what happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import keras
from tqdm import tqdm

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import workers

AUTO = "auto"
MEETING_S = 300
# A machine that does not answer for so long counts as gone.
SILENCE_S = 60
# The first machine may be preparing its data, or saving the network, while the others wait.
PATIENCE_MS = 2 * 3_600_000
GONE = (
    "Another machine of the training has ended or can no longer be reached; when all of them run "
    "again, --resume continues the training"
)
# What errors say that JAX and its libraries raise when a partner is gone.
SIGNS_OF_LOSS = ("gloo", "nccl", "coordination", "heartbeat", "unavailable", "deadline_exceeded")

Result = TypeVar("Result")

_joined = False


@dataclasses.dataclass(frozen=True)
class Machines:
    """The machines of a training, as this one sees them.

    Args:
        coordinator: address and port of the first machine, ADDRESS:PORT; or `auto` to take all
            from the variables of the scheduler that started the processes, as JAX does.
        count: how many there are.
        index: number of this one, from zero for the first.

    Raises:
        UsageError: something is missing or does not go together.
    """

    coordinator: str
    count: int | None = None
    index: int | None = None

    def __post_init__(self) -> None:
        numbers = (self.count, self.index)
        if self.coordinator == AUTO:
            if numbers != (None, None):
                raise UsageError(
                    "`machines` and `machine_index` must not be given with the coordinator auto. "
                    f"Received: {self.count} and {self.index}"
                )
            return
        address, _, port = self.coordinator.rpartition(":")
        if not address or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UsageError(
                f"`coordinator` must be ADDRESS:PORT or auto. Received: {self.coordinator}"
            )
        if self.count is None or self.index is None or not 0 <= self.index < self.count:
            raise UsageError(
                "`machines` must be the number of machines and `machine_index` a number below it. "
                f"Received: {self.count} and {self.index}"
            )

    def join(self) -> None:
        """Connect to the other machines; this must happen before JAX computes anything.

        Raises:
            UsageError: there is no scheduler to ask.
        """
        import jax

        global _joined
        # It would take SIGTERM from this process.
        jax.config.update("jax_enable_preemption_service", False)
        asks = self.coordinator == AUTO
        try:
            jax.distributed.initialize(
                None if asks else self.coordinator,
                self.count,
                self.index,
                cluster_detection_method=None if asks else "deactivate",
                initialization_timeout=MEETING_S,
                heartbeat_timeout_seconds=SILENCE_S,
            )
        except ValueError as error:
            raise UsageError(
                "`coordinator` can only be auto where a scheduler such as SLURM has started this "
                f"process. Received: {self.coordinator}, and {error}"
            ) from error
        _joined = True

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The result of a function that runs on all machines, in a new process that has joined.

        Raises:
            UserError: the machines did not meet, or one of them is gone.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sender, self, function, arguments))
        with workers.without_interrupts():
            process.start()
        sender.close()
        said: dict[str, Any] = {}
        try:
            while True:
                said.update([receiver.recv()])
        except EOFError:
            # One that has lost the others may wait for them for another minute.
            if "result" in said:
                process.join()
        finally:
            process.kill()
        if "result" in said:
            return said["result"]
        if "error" in said:
            raise said["error"]
        if "joined" in said:
            raise UserError(GONE)
        raise UserError(
            f"The machines of the training did not meet at {self.coordinator} within {MEETING_S} s"
        )


def _work(
    sender: Connection, machines: Machines, function: Callable[..., Any], arguments: Any
) -> None:
    """Join the other machines, call a function, and send back its result."""
    threading.Thread(target=workers.die_with_parent, daemon=True).start()
    # That of other processes, which it would have otherwise, would be left behind by a kill.
    tqdm.set_lock(threading.RLock())
    try:
        machines.join()
        sender.send(("joined", True))
        result = function(*arguments)
        _wait_for_all("end")
        sender.send(("result", result))
    except UserError as error:
        sender.send(("error", error))
    except Exception as error:
        if not any(sign in str(error).lower() for sign in SIGNS_OF_LOSS):
            raise
    sender.close()


def are_several() -> bool:
    """Whether this process trains together with those of other machines."""
    return _joined


def is_first() -> bool:
    """Whether this process may write and print: it is alone, or that of the first machine."""
    return index() == 0


def index() -> int:
    """Number of this machine, from zero."""
    if not _joined:
        return 0
    import jax

    return jax.process_index()


def own_devices(count: int) -> range:
    """The places of this machine's devices among those of all, which are `count`."""
    if not _joined:
        return range(count)
    import jax

    places = [i for i, it in enumerate(jax.devices()) if it.process_index == jax.process_index()]
    return range(places[0], places[-1] + 1)


def from_first(name: str, function: Callable[[], Result]) -> Result:
    """The result of a function on the first machine, for which the others wait.

    Args:
        name: of what it gives, used once.
        function: called on the first machine only, if there are several; gives what JSON can hold.
    """
    if not _joined:
        return function()
    if is_first():
        result = function()
        _client().key_value_set(name, json.dumps(result))
        return result
    return json.loads(_client().blocking_key_value_get(name, PATIENCE_MS))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let Keras make variables without the other machines, which JAX would wait for."""
    if not _joined:
        yield
        return
    together = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(together)


def _wait_for_all(name: str) -> None:
    """Wait until all machines are here."""
    _client().wait_at_barrier(name, PATIENCE_MS)


def _client() -> Any:
    """JAX's connection to the first machine, which keeps values for all."""
    from jax._src import distributed

    return distributed.global_state.client
