"""The report of an evaluation as Markdown, and its scores as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from speech_enhancement.errors import table_text
from speech_enhancement.scoring.scorer import Row
from speech_enhancement.scoring.summary import (
    COLUMNS,
    Mean,
    Summary,
    counted,
    grading_metric,
    heading_of_systems,
    key_metrics,
    merged_failed,
    merged_unscored,
    most_scored,
)
from speech_enhancement.scoring.verdict import verdict

GROUPS = {
    "Quality": ("pesq_wb", "pesq_nb", "csig", "cbak", "covl"),
    "Intelligibility and distortion": ("stoi", "estoi", "si_sdr", "segmental_snr"),
    "Spectra": ("log_spectral_distance", "spectrogram_mse", "spectrogram_ssim"),
    "Predicted listening scores": ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"),
    "Condition": (
        *("snr_estimate_db", "noise_floor_dbfs", "speech_level_dbfs"),
        *("hum_db", "clipping_percent", "offset_percent", "bandwidth_hz"),
    ),
}
COST_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "real_time_factor": ("real-time factor, 1 thread", lambda value: f"{value:.4f}"),
    "start_up_s": ("start-up (s)", lambda value: f"{value:.2f}"),
    "peak_memory_mb": ("peak memory (MB)", lambda value: f"{value:.0f}"),
    "parameters": ("parameters", lambda value: f"{value:,}"),
    "macs_per_s": ("multiply-adds (M per s of audio)", lambda value: f"{value / 1e6:,.0f}"),
}
ARROWS = {1: " ↑", -1: " ↓", 0: ""}
MOST_LISTED = 20
MOST_RECORDINGS = 200


def markdown(summary: Summary, page: str = "") -> str:
    """The whole report as Markdown.

    Args:
        summary: the content of `report.json`.
        page: address of the page to listen to, if there is one.
    """
    parts = [
        f"# Scores on {summary['about']['pairs']}",
        about(summary, page),
        *(f"## {title}\n\n{table}" for title, table in score_tables(summary)),
        pesq_before_and_after(summary),
        loss_table(summary.get("losses", {})),
        verdict_table(summary),
        *recordings(summary),
        f"## Cost\n\n{cost_table(summary['cost'])}" if summary["cost"] else "",
        *breakdowns(summary),
        left_out(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def about(summary: Summary, page: str = "") -> str:
    """When, where, with what and how; see `markdown`."""
    facts = summary["about"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    manner = (
        f", denoised and scored at {facts['rate']} Hz"
        if facts["rate"]
        else " without clean ones, each denoised and scored at its own rate"
    )
    return "\n".join(
        [
            f"- {counted(summary)}{manner}; mean and half the width of its 95 % bootstrap "
            "confidence interval",
            *(f"- {note}" for note in facts.get("notes", [])),
            *([f"- [The recordings to listen to]({page})"] if page else []),
            f"- {facts['date']}, {facts['machine']}",
            f"- {versions}",
            f"- `{facts['command']}`",
        ]
    )


def score_tables(summary: Summary) -> list[tuple[str, str]]:
    """Titles and tables of all systems, a row each."""
    scores = summary["scores"]
    tables = []
    for title, metrics in GROUPS.items():
        used = [name for name in metrics if any(name in means for means in scores.values())]
        if used:
            tables.append((title, score_table(scores, used, heading_of_systems(summary))))
    return tables


def score_table(
    scores: dict[str, dict[str, Mean]], metrics: Sequence[str], first: str = "system"
) -> str:
    """Systems below each other, metrics side by side; `first` heads the names of systems."""
    most = most_scored(scores)
    heading = [f"{COLUMNS[name].label}{ARROWS[COLUMNS[name].better]}" for name in metrics]
    rows = [
        [label(system), *(cell(means.get(name), name, most) for name in metrics)]
        for system, means in scores.items()
    ]
    return table([first, *heading], rows)


def label(system: str) -> str:
    """Name of a system for people."""
    return "**Noisy**" if system == "noisy" else system


def cell(mean: Mean | None, metric: str, most: int = 0) -> str:
    """A mean and half the width of its interval; the count where files were left out."""
    if mean is None:
        return "-"
    digits = COLUMNS[metric].digits
    half = (mean["high"] - mean["low"]) / 2.0
    text = f"{mean['mean']:.{digits}f} ± {half:.{digits}f}"
    return text if mean["n"] >= most else f"{text} ({mean['n']} files)"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], right: bool = True) -> str:
    """A Markdown table; all columns but the first align right, if need be."""
    lines = [[text.replace("|", "\\|") for text in line] for line in (heading, *rows)]
    lines.insert(1, ["---", *["--:" if right else "---"] * (len(heading) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pesq_before_and_after(summary: Summary) -> str:
    """PESQ of the noisy recordings beside that of each system."""
    means_of = {
        system: means["pesq"] for system, means in summary["scores"].items() if "pesq" in means
    }
    if "noisy" not in means_of:
        return ""
    most = most_scored(summary["scores"])
    before = cell(means_of["noisy"], "pesq", most)
    rows = [
        [label(system), before, cell(mean, "pesq", most)]
        for system, mean in means_of.items()
        if system != "noisy"
    ]
    text = (
        "## PESQ before and after\n\nMOS-LQO from 1 (bad) to 5 (excellent): wide-band PESQ at "
        "16 kHz and more, narrow-band PESQ at lower rates."
    )
    heading = [heading_of_systems(summary), "before", "after"]
    return f"{text}\n\n{table(heading, rows)}" if rows else ""


def loss_table(losses: dict[str, dict[str, Any]]) -> str:
    """The loss of networks on windows of the test split, beside those that their cards name."""
    if not losses:
        return ""
    rows = [
        [
            *(system, known.get("loss_function", "-")),
            *(_loss_cell(known.get(split)) for split in ("training", "validation", "test")),
            known.get("reason", f"{known.get('windows')} windows"),
        ]
        for system, known in losses.items()
    ]
    heading = ["network", "loss function", "training", "validation", "test", "remark"]
    return f"## Loss on the test split\n\n{table(heading, rows)}"


def _loss_cell(value: float | None) -> str:
    """A loss as the table shows it."""
    return "-" if value is None else f"{value:.4g}"


def verdict_table(summary: Summary) -> str:
    """The grade of each system, and how many recordings have which fault."""
    verdicts = {name: words for name, words in summary.get("verdicts", {}).items() if words[0]}
    if not verdicts:
        return ""
    rows = [[label(system), *words] for system, words in verdicts.items()]
    heading = ["system", "verdict on the recordings", "compared with noisy"]
    return f"## Verdict\n\n{table(heading, rows, right=False)}"


def recordings(summary: Summary) -> list[str]:
    """Recordings without clean ones, before and after each system: grades, and all measures."""
    found = summary.get("recordings", [])[:MOST_RECORDINGS]
    if not found:
        return []
    measures = f"## Each recording\n\n{_measures(found)}"
    if not any(summary["scores"].values()):
        return [measures]
    systems = list(summary["scores"])
    metric = grading_metric(summary["scores"])
    means = ["**mean**", *(plain_cell(summary["scores"][s].get(metric), metric) for s in systems)]
    grades = [
        [
            each["file"],
            *(plain_cell(each["scores"].get(s, {}).get(metric), metric) for s in systems),
        ]
        for each in found
    ]
    side_by_side = table(["recording", *map(label, systems)], [*grades, means])
    return [
        f"## {COLUMNS[metric].label} of each recording, before and after\n\n{side_by_side}",
        measures,
    ]


def _measures(found: Sequence[dict[str, Any]]) -> str:
    """A row for each recording and system, with all measures and the verdict."""
    known = {name for each in found for scores in each["scores"].values() for name in scores}
    names = [name for name in COLUMNS if name in known]
    rows = [
        [
            *(each["file"], label(system)),
            *(plain_cell(scores.get(name), name) for name in names),
            "; ".join(filter(None, each["verdicts"][system])),
        ]
        for each in found
        for system, scores in each["scores"].items()
    ]
    return table(["recording", "system", *(COLUMNS[n].label for n in names), "verdict"], rows)


def plain_cell(value: Any, metric: str) -> str:
    """A value, or a mean, without its interval."""
    if value is None:
        return "-"
    number = value["mean"] if isinstance(value, dict) else value
    return f"{number:.{COLUMNS[metric].digits}f}"


def cost_table(cost: dict[str, dict[str, Any]]) -> str:
    """What each system costs; the noisy input and folders of results have no row."""
    rows = [
        [label(system), *(cost_cell(figures, key) for key in COST_COLUMNS)]
        for system, figures in cost.items()
        if any(value is not None for value in figures.values())
    ]
    return table(["system", *(heading for heading, _ in COST_COLUMNS.values())], rows)


def cost_cell(figures: dict[str, Any], key: str) -> str:
    """One figure of a cost for people."""
    value = figures.get(key)
    return "-" if value is None else COST_COLUMNS[key][1](value)


def breakdowns(summary: Summary) -> list[str]:
    """Key metrics by input SNR, and by noise class or by what the classes of recordings are."""
    sections = []
    kind = "class" if "recordings" in summary else "noise class"
    for key, title in (("by_snr", "By input SNR"), ("by_class", f"By {kind}")):
        groups = summary[key]
        for metric in key_metrics(summary["scores"]):
            if groups and metric in summary["scores"].get("noisy", {}):
                heading = f"## {title}: {COLUMNS[metric].label}"
                sections.append(f"{heading}\n\n{_breakdown(groups, metric)}")
    return sections


def _breakdown(groups: dict[str, Any], metric: str) -> str:
    """Systems below each other, groups side by side."""
    systems = dict.fromkeys(system for means in groups.values() for system in means)
    counts = {
        name: max(_count(m, metric) for m in group.values()) for name, group in groups.items()
    }
    rows = [
        [label(system), *(cell(g.get(system, {}).get(metric), metric) for g in groups.values())]
        for system in systems
    ]
    return table(["system", *(f"{name} ({counts[name]})" for name in groups)], rows)


def _count(means: dict[str, Mean], metric: str) -> int:
    """Files that a mean is of."""
    return means[metric]["n"] if metric in means else 0


def left_out(summary: Summary) -> str:
    """Every file that a mean misses, and every file that was moved to match."""
    lines = merged_failed(summary) + merged_unscored(summary)
    text = _listed("Left out of means", lines)
    remarks = [f"{it['file']}, {it['system']}: {it['remark']}" for it in summary["remarks"]]
    return "\n\n".join(part for part in (text, _listed("Aligned", remarks)) if part)


def _listed(title: str, lines: list[str]) -> str:
    """A section with the first of many lines, and where the rest is."""
    if not lines:
        return ""
    shown = [f"- {line}" for line in lines[:MOST_LISTED]]
    if len(lines) > MOST_LISTED:
        shown.append(f"- and {len(lines) - MOST_LISTED} more, in the JSON")
    return "\n".join([f"## {title} ({len(lines)})", "", *shown])


def scores_csv(rows: Sequence[Row]) -> str:
    """One line for each file and system; empty where a metric has no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in COLUMNS if any(name in row.get("scores", {}) for row in rows)]
    writer.writerow(["file", "system", "class", "snr_db", *names, "verdict", "left_out"])
    for row in rows:
        scores = row.get("scores", {})
        reasons = [f"{name}: {why}" for name, why in row.get("unscored", {}).items()]
        reasons += [row["error"]] if "error" in row else []
        names_of = [row["file"], row["system"], row.get("class") or ""]
        known = [*map(table_text, names_of), row.get("snr_db")]
        values = (scores.get(name) for name in names)
        writer.writerow([*known, *values, verdict(scores), "; ".join(reasons)])
    return text.getvalue()


def console_table(summary: Summary) -> str:
    """Key metrics for the terminal."""
    scores = summary["scores"]
    used = key_metrics(scores)
    rows = [[heading_of_systems(summary), *(COLUMNS[name].label for name in used)]]
    most = most_scored(scores)
    rows += [[s, *(cell(m.get(name), name, most) for name in used)] for s, m in scores.items()]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
