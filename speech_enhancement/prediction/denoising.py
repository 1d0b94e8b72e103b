"""Denoises recordings, folders of them, and patterns, as a program asks for it.

>>> from speech_enhancement import Destination, denoise_files
>>> denoised = denoise_files(["interviews/"], Destination("denoised/"))
>>> [record["status"] for record in denoised.records]
['done', 'done', 'failed']
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from speech_enhancement.files import atomic, audio_io
from speech_enhancement.inference import runtime
from speech_enhancement.prediction.batch import BatchSettings, denoise_jobs
from speech_enhancement.prediction.jobs import (
    FAILED,
    Destination,
    Job,
    Record,
    find_jobs,
    refuse_collisions,
)
from speech_enhancement.prediction.one_file import result_paths
from speech_enhancement.prediction.summary import check_summary, save_summary


@dataclasses.dataclass(frozen=True)
class DenoisedFiles:
    """What `denoise_files` has done.

    Args:
        jobs: each recording and its result.
        records: how each of them went, in the same order, as `denoised.jsonl` says it: `status` is
            `done`, `skipped` (done before) or `failed`, with the reason as `error`.
    """

    jobs: list[Job]
    records: list[Record]

    @property
    def has_failures(self) -> bool:
        """Whether any recording could not be denoised."""
        return any(record["status"] == FAILED for record in self.records)


def denoise_files(
    inputs: str | Path | Iterable[str | Path],
    destination: Destination | None = None,
    settings: BatchSettings | None = None,
    recursive: bool = False,
    jobs: int = 1,
    clean_dir: str | Path | None = None,
    cluster: str | None = None,
) -> DenoisedFiles:
    """Denoise recordings, each of them wholly or not at all.

    A recording that cannot be denoised is named on stderr and in the records, and the others go on.
    Results that are there already are not made again.

    Args:
        inputs: one or more recordings, folders, or patterns such as `interviews/**/*.wav`.
        destination: where the results go; by default beside the recordings. If it names a folder,
            the records are also written there, as `summary.json`.
        settings: the network and what is done; by default the default network removes the noise.
        recursive: whether sub-folders are searched, too.
        jobs: how many processes share the recordings.
        clean_dir: folder of clean recordings by the names of the noisy ones; the records of those
            that are found have the SI-SDR before and after, dB.
        cluster: address of the Ray cluster that denoises them with one thread each, see
            `files.cluster.each_on_cluster`; by default, processes of this machine do.

    Raises:
        UsageError: two recordings would have the same result, or an argument is out of its range.
        UserError: an input has no recordings, there is no such network, or a folder of results
            cannot be used.
    """
    destination, settings = destination or Destination(), settings or BatchSettings()
    threads = 1 if cluster else settings.threads or runtime.available_threads()
    settings = dataclasses.replace(settings, threads=max(1, threads // jobs))
    names = [inputs] if isinstance(inputs, str | Path) else inputs
    found = find_jobs(map(str, names), destination, recursive)
    refuse_collisions(
        (job.source, path)
        for job in found
        for path in result_paths(job.target, settings.file_options)
    )
    if destination.folder and not settings.overwrite:
        check_summary(destination.folder)
    with _no_partial_files({job.target.parent for job in found}):
        records = denoise_jobs(found, settings, jobs, cluster)
    if clean_dir is not None:
        for job, record in zip(found, records, strict=True):
            record |= _improvement(job, Path(clean_dir))
    if destination.folder:
        save_summary(destination.folder, records)
    return DenoisedFiles(found, records)


@contextlib.contextmanager
def _no_partial_files(folders: set[Path]) -> Iterator[None]:
    """Remove what killed processes left: those of an earlier run, and those of this one."""
    for folder in folders:
        atomic.remove_partial_files(folder)
    try:
        yield
    finally:
        for folder in folders:
            atomic.remove_partial_files(folder, untouched_s=0.0)


def _improvement(job: Job, clean_dir: Path) -> Record:
    """SI-SDR of a recording before and after, dB, where there is a clean one of its length."""
    clean_path = clean_dir / job.source.name
    if not clean_path.is_file() or not job.target.is_file():
        return {}
    from speech_enhancement.scoring import metrics

    clean, rate = audio_io.load_audio(clean_path)
    scores = {}
    for name, path in (("si_sdr_in_db", job.source), ("si_sdr_out_db", job.target)):
        estimate, _ = audio_io.load_audio(path, rate)
        if len(estimate) != len(clean):
            return {}
        scores[name] = round(metrics.si_sdr(clean, estimate, rate), 2)
    return scores
