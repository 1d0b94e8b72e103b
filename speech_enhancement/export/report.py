"""What an export gave, as rows: a table for people, Markdown and JSON for others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_enhancement.files import atomic
from speech_enhancement.scoring import report

HEADINGS = ("network", "format", "file", "size (MB)", "ms per s of audio", "SI-SDR", "max abs")
NAME = "export"
NOTE = (
    "Size of the file or folder; processor time of one thread for a second of audio, windows or "
    "frames one at a time; and the sound that a network makes of the recordings of demo_data/ "
    "against the sound that Keras makes of them: SI-SDR in dB, and the largest difference of a "
    "sample, full scale."
)


@dataclasses.dataclass(frozen=True)
class ExportRow:
    """One network in one format.

    Args:
        network: its name.
        format: `keras`, or one of `registry.EXPORT_FORMATS`.
        file: name of the file or folder.
        n_bytes: size of all of it.
        ms_per_s: processor time of one thread for a second of audio, ms.
        si_sdr_db: likeness to the sound of Keras, dB; none for Keras itself.
        max_abs: largest difference to it, full scale.
        reason: why it was not kept; empty if it was.
    """

    network: str
    format: str
    file: str
    n_bytes: int = 0
    ms_per_s: float | None = None
    si_sdr_db: float | None = None
    max_abs: float | None = None
    reason: str = ""


def table(rows: Sequence[ExportRow]) -> str:
    """A Markdown table of the networks that were kept."""
    return report.table(HEADINGS, [_cells(row) for row in rows if not row.reason])


def _cells(row: ExportRow) -> list[str]:
    """The cells of one row."""
    numbers = (
        (row.n_bytes / 1e6, "{:.2f}"),
        (row.ms_per_s, "{:.1f}"),
        (row.si_sdr_db, "{:.1f}"),
        (row.max_abs, "{:.1g}"),
    )
    shown = ["-" if number is None else form.format(number) for number, form in numbers]
    return [row.network, row.format, f"`{row.file}`", *shown]


def markdown(summary: dict[str, Any]) -> str:
    """The whole report: circumstances, table, and what was not kept."""
    facts = summary["about"]
    rows = [ExportRow(**fields) for fields in summary["rows"]]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        "# Exported networks",
        f"- {facts['date']}, {facts['machine']}\n- {versions}\n- `{facts['command']}`",
        NOTE,
        table(rows),
        *(f"Not kept: {row.file}: {row.reason}." for row in rows if row.reason),
    ]
    return "\n\n".join(lines) + "\n"


def save(folder: Path, rows: Sequence[ExportRow], about: dict[str, Any]) -> None:
    """Write `export.json` and `export.md`.

    Raises:
        UserError: the folder cannot be written.
    """
    summary = {"about": about, "rows": [dataclasses.asdict(row) for row in rows]}
    texts = {".json": json.dumps(summary, indent=1) + "\n", ".md": markdown(summary)}
    for suffix, text in texts.items():
        atomic.write_text(folder / f"{NAME}{suffix}", text)
