"""Denoises many recordings, in this process or in several, and says how each of them went.

A recording that fails is a line of the result, never the end of the others. Where a damaged one can
crash its decoder or encoder, all are denoised in processes of their own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from speech_enhancement import registry
from speech_enhancement.errors import UserError, printable
from speech_enhancement.files import atomic, cluster, workers
from speech_enhancement.files.audio_files import check_regular_file, is_risky
from speech_enhancement.inference import network_files, runtime
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.prediction.jobs import DONE, FAILED, SKIPPED, STARTED, Job, JobLog, Record
from speech_enhancement.prediction.one_file import (
    FileOptions,
    Progress,
    Report,
    check_replaceable,
    denoise_file,
    fitting_target,
    result_paths,
)
from speech_enhancement.prediction.summary import speed

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """What all recordings of a batch share; sent to every process.

    Args:
        network, runtime, threads, strength, max_attenuation_db, window_overlap: see
            `Enhancer.load`.
        file_options: what else to do.
        overwrite: denoise again what is done, and replace files that this program did not write.
    """

    network: str | Path = registry.DEFAULT_NETWORK
    runtime: str = "auto"
    threads: int | None = None
    strength: float = 1.0
    max_attenuation_db: float | None = None
    window_overlap: float | None = None
    file_options: FileOptions = dataclasses.field(default_factory=FileOptions)
    overwrite: bool = False

    def load(self) -> Enhancer:
        """Load the network.

        Raises:
            UserError: there is no such network, or its files do not belong together.
        """
        return Enhancer.load(
            self.network,
            self.runtime,
            self.threads,
            self.strength,
            self.max_attenuation_db,
            self.window_overlap,
        )

    def fingerprint(self, card: ModelCard) -> Record:
        """All that a result depends on beside the recording."""
        stem = network_files.stem_named(self.network)
        path = runtime.network_path(stem, self.runtime)
        return {
            "network": stem.name,
            "network_sha256": card.sha256[path.suffix],
            "strength": self.strength,
            "max_attenuation_db": self.max_attenuation_db,
            "window_overlap": self.window_overlap,
            **dataclasses.asdict(self.file_options),
        }


def _that_matters(facts: Record) -> Record:
    """The options that change a result, so that results made before an option existed stay valid.

    Noise and picture are files beside it, which are there or not.
    """
    defaults = {
        "strength": BatchSettings.strength,
        "max_attenuation_db": BatchSettings.max_attenuation_db,
        "window_overlap": BatchSettings.window_overlap,
        **dataclasses.asdict(FileOptions()),
    }
    return {
        name: value
        for name, value in facts.items()
        if name not in ("save_noise", "plot", "dark_plot")
        and not (name in defaults and value == defaults[name])
    }


class Worker:
    """Denoises one recording after the other.

    Args:
        settings: what they share.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._enhancer = settings.load()
        self._options = settings.fingerprint(self._enhancer.card)
        self._logs: dict[Path, JobLog] = {}

    def denoise(self, job: Job, progress: Progress | None = None) -> Record:
        """Do one job, unless it is done already; gives what the log says of it."""
        try:
            return self._denoise(job, self._log(job), progress)
        except UserError as error:
            record = failure(job, str(error))
        except OSError as error:
            other = error.filename not in (None, str(job.source))
            place = f"{error.filename}: " if other else ""
            reason = f"{place}{error.strerror or error}"
            record = failure(job, f"Cannot denoise {job.source}: {reason}")
        except Exception as error:  # whatever one file does to a decoder, the others go on
            record = failure(job, f"Cannot denoise {job.source}: {type(error).__name__}: {error}")
        if job.root.is_dir():
            with contextlib.suppress(UserError, OSError):
                self._log(job).append(record)
        return record

    def _log(self, job: Job) -> JobLog:
        """The log of the folder that the job's result belongs to."""
        if job.root not in self._logs:
            self._logs[job.root] = JobLog(job.root)
        return self._logs[job.root]

    def _denoise(self, job: Job, log: JobLog, progress: Progress | None) -> Record:
        """See `denoise`; an error ends it."""
        check_regular_file(job.source)
        job, notes = self._fitting(job)
        check_replaceable(job.target, job.source, self._settings.file_options)
        record: Record = {
            "output": job.name,
            "input": str(job.source),
            "input_sha256": file_sha256(job.source),
            "options": self._options,
        }
        if self._is_done(job, log, record):
            return {**log.record(job), "status": SKIPPED}
        log.append({**record, "status": STARTED})
        begin = time.perf_counter()
        report = denoise_file(
            self._enhancer, job.source, job.target, self._settings.file_options, progress
        )
        record |= dataclasses.asdict(report)
        record["notes"] = [*notes, *report.notes]
        record["seconds"] = round(time.perf_counter() - begin, 3)
        record["output_bytes"] = job.target.stat().st_size
        record |= {"status": DONE, "finished": _now()}
        log.append(record)
        return record

    def _fitting(self, job: Job) -> tuple[Job, list[str]]:
        """The job, with another format if the wanted one does not hold the recording; and notes."""
        target, notes = fitting_target(job.source, job.target, self._settings.file_options)
        return dataclasses.replace(job, target=target), notes

    def _is_done(self, job: Job, log: JobLog, record: Record) -> bool:
        """Whether the result is there, made of the same recording in the same way.

        Raises:
            UserError: a file of that name is there which this program did not write.
        """
        results = result_paths(job.target, self._settings.file_options)
        there = [path for path in results if path.exists()]
        if self._settings.overwrite or not there:
            return False
        if not log.owns(job):
            raise UserError(f"{there[0]} exists already; give --overwrite to replace it")
        if job.target not in there:
            return False
        known = log.record(job)
        return _same(known, record, job.target.stat().st_size) and there == results


def _same(known: Record, wanted: Record, output_bytes: int) -> bool:
    """Whether the log's record is that of the result that is wanted."""
    return (
        known.get("status") == DONE
        and known.get("input_sha256") == wanted["input_sha256"]
        and known.get("output_bytes") == output_bytes
        and _that_matters(known["options"]) == _that_matters(wanted["options"])
    )


def failure(job: Job, sentence: str) -> Record:
    """The record of a recording that could not be denoised."""
    return {
        "output": job.name,
        "input": str(job.source),
        "status": FAILED,
        "error": sentence,
        "finished": _now(),
    }


def _now() -> str:
    """The time of day, UTC, as in 2024-05-01T12:00:00+00:00."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def denoise_jobs(
    jobs: list[Job],
    settings: BatchSettings,
    n_processes: int = 1,
    cluster_address: str | None = None,
) -> list[Record]:
    """Do all jobs, with progress bars on a terminal; a failure is told as soon as it happens.

    Args:
        jobs: what to do.
        settings: what the jobs share.
        n_processes: how many recordings are denoised at a time.
        cluster_address: the Ray cluster that denoises them, see `cluster.each_on_cluster`; by
            default, processes of this machine do.

    Returns:
        The records of the jobs, in their order.

    Raises:
        UserError: there is no network to do it with, or no cluster.
    """
    is_alone = n_processes == 1 or len(jobs) == 1
    if cluster_address:
        settings.load()
        records = _on_cluster(jobs, settings, cluster_address)
    elif is_alone and not any(
        is_risky(job.source, job.target, settings.file_options.raw) for job in jobs
    ):
        records = _one_by_one(jobs, Worker(settings))
    else:
        settings.load()  # one sentence now instead of one from each process
        records = _in_processes(jobs, settings, min(n_processes, len(jobs)))
    by_job: dict[Job, Record] = {}
    sizes = {job: _file_size(job.source) for job in jobs}
    bytes_in_all = sum(sizes.values())
    with tqdm(
        total=bytes_in_all, desc="recordings", disable=None, bar_format=BAR, smoothing=0
    ) as bar:
        for job, record in records:
            by_job[job] = record
            if record["status"] == FAILED:
                bar.write(f"error: {printable(record['error'])}", file=sys.stderr)
            elif record["status"] == DONE:
                for note in record["notes"]:
                    bar.write(f"note: {printable(f'{job.source}: {note}')}", file=sys.stderr)
            if record["status"] == SKIPPED:
                bar.total -= sizes[job]  # or what is left would seem as fast as that
            else:
                bar.update(sizes[job])
            _show_batch(bar, by_job, len(jobs))
    return [by_job[job] for job in jobs]


def denoise_apart(source: Path, target: Path, settings: BatchSettings) -> Report:
    """Denoise one recording in a process of its own, so that what crashes is not this one.

    Args:
        source: the recording.
        target: its result, alone in its folder.
        settings: how.

    Raises:
        UserError: it crashed, or cannot be denoised.
    """
    job = Job(source, target, target.parent)
    ((_, record),) = _in_processes([job], settings, 1)
    if record["status"] == FAILED:
        raise UserError(record["error"])
    return Report(**{field.name: record[field.name] for field in dataclasses.fields(Report)})


def _file_size(path: Path) -> int:
    """Bytes of a recording, as far as they can be told."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _show_batch(bar: tqdm, by_job: dict[Job, Record], n_jobs: int) -> None:
    """Say how many recordings are done, and how fast it went."""
    bar.set_description_str(f"{len(by_job)} of {n_jobs} recordings", refresh=False)
    bar.set_postfix_str(_speed_so_far(by_job.values(), bar.format_dict["elapsed"]))


def _speed_so_far(records: Iterable[Record], seconds: float) -> str:
    """How much faster than it plays a batch went so far."""
    audio_s = sum(r["audio_s"] for r in records if r["status"] == DONE)
    return f"{speed(audio_s, seconds)} real time"


def _one_by_one(jobs: list[Job], worker: Worker) -> Iterator[tuple[Job, Record]]:
    """Jobs and their records, done in this process."""
    for job in jobs:
        yield job, _with_bar(worker, job, line=1)


def _with_bar(worker: Worker, job: Job, line: int) -> Record:
    """Do one job, with a bar of its own on a line below the batch's."""
    name = printable(job.source.name)
    with tqdm(desc=name, disable=None, leave=False, position=line, bar_format=BAR) as bar:
        return worker.denoise(job, functools.partial(_show_progress, bar))


def _show_progress(bar: tqdm, done: int, total: int, rate: int) -> None:
    """Move the bar of one recording."""
    bar.total = total
    times = speed(done / rate, bar.format_dict["elapsed"])
    bar.set_postfix_str(f"{times} real time", refresh=False)
    bar.update(done - bar.n)


def _in_processes(
    jobs: list[Job], settings: BatchSettings, n_processes: int
) -> Iterator[tuple[Job, Record]]:
    """Jobs and their records, in the order in which processes finish them.

    Only the jobs that kill their process fail with it.
    """
    pool = functools.partial(_pool, settings)
    return _told(workers.each_apart(_work, {job: (job,) for job in jobs}, n_processes, pool))


def _on_cluster(
    jobs: list[Job], settings: BatchSettings, address: str
) -> Iterator[tuple[Job, Record]]:
    """Jobs and their records, in the order in which the nodes of a cluster finish them."""
    stem = network_files.stem_named(settings.network)
    settings = dataclasses.replace(settings, network=stem)  # of this machine, not of the Hub's now
    roots = {_existing(job.root) for job in jobs}
    with contextlib.ExitStack() as stack:
        marks = [stack.enter_context(atomic.marked(root)) for root in sorted(roots)]
        recordings = [job.source for job in jobs if _file_size(job.source)][:1]
        files = [runtime.network_path(stem, settings.runtime), *marks, *recordings]
        tasks = {job: (job,) for job in jobs}
        yield from _told(
            cluster.each_on_cluster(_work, tasks, address, files, _start_far_worker, settings)
        )


def _existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _told(results: Iterator[tuple[Job, Any]]) -> Iterator[tuple[Job, Record]]:
    """Jobs and their records; a job whose process died counts as failed."""
    for job, record in results:
        died = f"Cannot denoise {job.source}: {workers.DIED}"
        yield job, failure(job, died) if record == workers.DIED else record


def _pool(
    settings: BatchSettings, n_processes: int
) -> contextlib.AbstractContextManager[ProcessPoolExecutor]:
    """Processes that denoise, each with a line on the terminal."""
    context = multiprocessing.get_context("spawn")
    tqdm.set_lock(context.RLock())
    lines = context.Value("i", 0)
    return workers.worker_pool(n_processes, _start_worker, settings, tqdm.get_lock(), lines)


_process_worker: list[tuple[Worker, int]] = []


def _start_worker(settings: BatchSettings, terminal: Any, started: Any) -> None:
    """Prepare a new process: its worker, and the line on the terminal that is its own."""
    tqdm.set_lock(terminal)
    with started.get_lock():
        started.value += 1
        line = started.value
    _process_worker[:] = [(Worker(settings), line)]


def _start_far_worker(settings: BatchSettings) -> None:
    """Prepare a process on a node of a cluster, which has no terminal."""
    _process_worker[:] = [(Worker(settings), 0)]


def _work(job: Job) -> Record:
    """Do one job in a process of the pool."""
    worker, line = _process_worker[0]
    return _with_bar(worker, job, line)
