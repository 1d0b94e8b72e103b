"""The nodes of a Ray cluster that share out the work of one command (Moritz et al. 2018).

They take the place of processes of this machine, and see its files under the same paths. A worker
that does not, or that has another version of this program or of a package, refuses to begin: what
comes out would depend on where it was made.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import importlib.util
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.files import provenance
from speech_enhancement.files.workers import DIED, ENVIRONMENT

AUTO = "auto"
# What results depend on beside this program; Ray itself compares its versions and Python's.
PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "onnxruntime", "av")
# Tasks that each processor has, one of which waits so that it is never idle. No more are sent than
# can soon be done, and a cluster that grows with its work doubles.
IN_FLIGHT = 2
# How often a task is begun. Nodes are lost, but what ends every worker that does it is given up.
MOST_TRIES = 3
# Limits for what may never answer, and the time between two looks at the cluster, seconds.
JOIN_S = 30.0
END_S = 10.0
ASK_S = 5.0
# Joins a cluster and leaves it. Where none answers, Ray waits for minutes and ends its process.
TRIAL = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except Exception as error:
    sys.exit(" ".join(str(error).split()))
"""

Prepare = Callable[..., None]


@dataclasses.dataclass(frozen=True)
class Kit:
    """What each worker needs; sent to each node once.

    Args:
        function: what is done.
        prepare: called first in each worker, with `arguments`.
        arguments: what the workers keep.
        folder: the current folder, which relative paths begin at.
        sizes: of files that a worker must see, bytes.
        versions: of this program and of packages, by name.
    """

    function: Callable[..., Any]
    prepare: Prepare
    arguments: tuple[Any, ...]
    folder: Path
    sizes: dict[Path, int]
    versions: dict[str, str]

    def unpack(self) -> None:
        """Make this process a worker.

        Raises:
            UserError: it does not see the files, or has other versions.
        """
        mine = versions()
        for name, version in self.versions.items():
            if mine[name] != version:
                raise UserError(
                    f"All nodes of a cluster must have the same versions. {socket.gethostname()} "
                    f"has {name} {mine[name]}, and this machine has {version}"
                )
        try:
            os.chdir(self.folder)
            unseen = [path for path, size in self.sizes.items() if path.stat().st_size != size]
        except OSError as error:
            unseen = [Path(error.filename)]
        if unseen:
            raise UserError(
                "All nodes of a cluster must see the same files under the same paths. "
                f"{socket.gethostname()} does not see {unseen[0]} as it is here"
            )
        self.prepare(*self.arguments)


def each_on_cluster(
    function: Callable[..., Any],
    tasks: Mapping[Any, tuple[Any, ...]],
    address: str,
    files: Iterable[Path],
    prepare: Prepare,
    *arguments: Any,
) -> Iterator[tuple[Any, Any]]:
    """Results of tasks, any of which may end the process that does it, or lose its node.

    What was lost is begun again by a worker that is prepared anew.

    Args:
        function: what is done, in processes of one thread.
        tasks: its arguments, by a name for each task.
        address: of the cluster: `auto` for that of this machine, or HOST:PORT of its head.
        files: some that the nodes must see as they are here.
        prepare: called first in each process, with `arguments`.
        arguments: what the processes keep; sent to each node once.

    Returns:
        Names and results, in the order in which they are done; `workers.DIED` in place of a result.

    Raises:
        UserError: Ray is not installed, no cluster answers, or its nodes lack files or versions.
    """
    sizes = {path: path.stat().st_size for path in files}
    kit = Kit(function, prepare, arguments, Path.cwd(), sizes, versions())
    with _joined(address) as ray:
        yield from _Crew(ray, kit).results(tasks)


def versions() -> dict[str, str]:
    """Versions of what results depend on, by name; that of this program is a digest of its code."""
    package = Path(places.__file__).parent
    code = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return provenance.versions(PACKAGES) | {"speech_enhancement": code.hexdigest()[:12]}


@contextlib.contextmanager
def _joined(address: str) -> Iterator[Any]:
    """The library Ray, connected to a cluster until the block ends."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(f"`--cluster` needs Ray: {places.install_command('cluster')}")
    _check_answer(address)
    # It prints a page for each worker that is lost.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    import ray

    stop = signal.getsignal(signal.SIGTERM)
    where = {"PYTHONPATH": places.module_environment()["PYTHONPATH"]}
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        runtime_env={"env_vars": ENVIRONMENT | where},
    )
    with contextlib.suppress(ValueError):  # only the main thread has such answers, and loses them
        signal.signal(signal.SIGTERM, stop)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Find out within a time limit whether a cluster can be joined, in another process.

    Raises:
        UserError: it cannot.
    """
    where = "on this machine" if address == AUTO else f"at {address}"
    command = [sys.executable, "-c", TRIAL, address]
    try:
        if address != AUTO:
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), JOIN_S).close()
        trial = subprocess.run(command, capture_output=True, text=True, timeout=JOIN_S)
    except OSError as error:
        raise UserError(f"No Ray cluster answers {where}: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"No Ray cluster answers {where} within {JOIN_S:g} s") from error
    if trial.returncode:
        reason = (trial.stderr.strip().splitlines() or ["it ended"])[-1]
        raise UserError(f"Cannot join the Ray cluster {where}: {reason}")


class _Crew:
    """The workers of a cluster.

    Args:
        ray: the library, connected.
        kit: what each worker needs.
    """

    def __init__(self, ray: Any, kit: Kit) -> None:
        errors = ray.exceptions
        self._ray = ray
        self._kit = ray.put(kit)
        self._run = secrets.token_hex(8)
        self._work = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_work)
        self._lost = (
            *(errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError),
            errors.ObjectLostError,
        )
        self._running: dict[Any, Any] = {}  # names by what Ray promises
        self._processors, self._asked_s = 1, -ASK_S

    def results(self, tasks: Mapping[Any, tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
        """See `each_on_cluster`."""
        waiting = collections.deque(tasks)
        tries: collections.Counter[Any] = collections.Counter()
        try:
            while waiting or self._running:
                while waiting and len(self._running) < IN_FLIGHT * self._n_processors():
                    name = waiting.popleft()
                    tries[name] += 1
                    self._begin(name, tasks[name], tries[name])
                for name, result in self._finished():
                    if result != DIED or tries[name] == MOST_TRIES:
                        yield name, result
                        continue
                    again = "note: a worker of the cluster was lost; what it had is begun again"
                    tqdm.write(again, file=sys.stderr)
                    waiting.appendleft(name)
        finally:
            self._end()

    def _begin(self, name: Any, arguments: tuple[Any, ...], n_tries: int) -> None:
        """Have a task done, at a later try by a worker that knows nothing of the earlier ones."""
        token = self._run if n_tries == 1 else secrets.token_hex(8)
        self._running[self._work.remote(token, [self._kit], arguments)] = name

    def _finished(self) -> Iterator[tuple[Any, Any]]:
        """Names and results of tasks that are done by now, if need be after a while."""
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=ASK_S)
        for promise in done:
            name = self._running.pop(promise)
            try:
                result = self._ray.get(promise)
            except self._lost:
                result = DIED
            except self._ray.exceptions.RayTaskError as error:
                raise _error_of(error.cause) from error
            yield name, result

    def _n_processors(self) -> int:
        """Processors of all nodes that there are now; one where there is none yet."""
        if time.monotonic() - self._asked_s > ASK_S:
            self._processors = max(1, int(self._ray.cluster_resources().get("CPU", 0)))
            self._asked_s = time.monotonic()
        return self._processors

    def _end(self) -> None:
        """Stop what is still being done, so that nothing is written any more."""
        for promise in self._running:
            self._ray.cancel(promise, force=True)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=END_S)


def _error_of(cause: Exception) -> UserError:
    """What a worker raised, in a sentence: it may be a node that does not have this program."""
    if isinstance(cause, UserError):
        return cause
    text = f"{type(cause).__name__}: {cause}".strip().splitlines()[-1]
    return UserError(f"A worker of the cluster failed: {text}")


_token = ""
_function: Callable[..., Any]


def _work(token: str, kit: list[Any], arguments: tuple[Any, ...]) -> Any:
    """Do one task in a worker, which is prepared for a token once.

    Args:
        token: names the preparation.
        kit: where Ray has the `Kit`, in a list so that it is not fetched for each task.
        arguments: of the function.
    """
    global _token, _function
    if token != _token:
        import ray

        whole: Kit = ray.get(kit[0])
        whole.unpack()
        _token, _function = token, whole.function
    return _function(*arguments)
