"""How a batch of recordings went: a table for people, JSON for programs."""

from __future__ import annotations

import collections
import json
from pathlib import Path

from speech_enhancement.errors import UserError, printable
from speech_enhancement.files import atomic, json_files
from speech_enhancement.prediction.jobs import DONE, FAILED, SKIPPED, Job, Record
from speech_enhancement.prediction.one_file import picture_path

SUMMARY_NAME = "summary.json"
HEADINGS = ("recording", "length", "speed", "level (dBFS)", "SI-SDR (dB)", "result")


def summary_table(jobs: list[Job], records: list[Record]) -> str:
    """One line for each recording, and one for all of them; columns without content are left out.

    Args:
        jobs: what was to do.
        records: how it went, in the same order.
    """
    rows = [_row(job, record) for job, record in zip(jobs, records, strict=True)]
    used = [k for k in range(len(HEADINGS)) if any(row[k] for row in rows)]
    table = [[row[k] for k in used] for row in (HEADINGS, *rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(used))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([*lines, _totals(records)])


def _row(job: Job, record: Record) -> tuple[str, ...]:
    """The cells of one recording."""
    source = printable(_short(job.source))
    if record["status"] == FAILED:
        return (source, "", "", "", "", FAILED)
    target = job.target.with_suffix(Path(record["output"]).suffix)
    result = printable(_short(target))
    if record["options"]["plot"] and picture_path(target).is_file():
        result += f", {printable(picture_path(target).name)}"
    scores = ""
    if "si_sdr_in_db" in record:
        scores = f"{record['si_sdr_in_db']:.1f} -> {record['si_sdr_out_db']:.1f}"
    return (
        source,
        duration(record["audio_s"]),
        speed(record["audio_s"], record["seconds"]),
        f"{record['level_in_dbfs']:.1f} -> {record['level_out_dbfs']:.1f}",
        scores,
        result + _remark(record),
    )


def _remark(record: Record) -> str:
    """What is worth knowing about a result."""
    if record["status"] == SKIPPED:
        return " (done before)"
    return f" ({record['clipped']} samples clipped)" if record["clipped"] else ""


def _short(path: Path) -> str:
    """A path from here, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _totals(records: list[Record]) -> str:
    """How many recordings were denoised, skipped and failed, and how fast."""
    counts = collections.Counter(record["status"] for record in records)
    text = ", ".join(f"{counts[s]} {s}" for s in (DONE, SKIPPED, FAILED) if counts[s])
    done = [record for record in records if record["status"] == DONE]
    if not done:
        return text
    audio_s, seconds = (sum(record[key] for record in done) for key in ("audio_s", "seconds"))
    return f"{text}: {duration(audio_s)} of sound, {speed(audio_s, seconds)} real time"


def duration(seconds: float) -> str:
    """A length: seconds, or h:min:s from a minute on."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def speed(audio_s: float, seconds: float) -> str:
    """How much faster than it plays a recording was denoised."""
    times = audio_s / max(seconds, 1e-3)
    return f"{times:.0f}x" if times >= 10.0 else f"{times:.1f}x"


def check_summary(folder: Path) -> None:
    """Refuse to replace a `summary.json` that is none of this program.

    Raises:
        UserError: there is such a file, or one that cannot be read.
    """
    path = folder / SUMMARY_NAME
    if not path.exists():
        return
    content = json_files.items(json_files.record({"status": json_files.text()}))
    try:
        json_files.load(path, "a summary", content, json_files.LARGEST_INDEX)
    except (OSError, UserError) as error:
        raise UserError(f"{path} exists already; give --overwrite to replace it") from error


def save_summary(folder: Path, records: list[Record]) -> None:
    """Write the records as `summary.json`.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    atomic.write_text(folder / SUMMARY_NAME, json.dumps(records, indent=2) + "\n")
