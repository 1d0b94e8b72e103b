"""From rows of scores to means with confidence: over all files, by input SNR, by noise class.

A summary is plain values, ready for JSON. A file that a metric could not score is left out of
that metric's mean and named; it never counts as zero.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from speech_enhancement.scoring.scorer import Row
from speech_enhancement.scoring.verdict import GRADE, change, verdict, verdict_on_all

CONFIDENCE = 0.95
RESAMPLES = 2000
SNR_STEP_DB = 5.0

Summary = dict[str, Any]
Mean = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Column:
    """How one score is shown.

    Args:
        label: heading.
        digits: after the decimal point.
        better: 1 if more is better, -1 if less is, 0 if neither.
    """

    label: str
    digits: int = 2
    better: int = 1


COLUMNS = {
    "pesq_wb": Column("PESQ-wb"),
    "pesq_nb": Column("PESQ-nb"),
    "csig": Column("CSIG"),
    "cbak": Column("CBAK"),
    "covl": Column("COVL"),
    "pesq": Column("PESQ"),
    "stoi": Column("STOI", 3),
    "estoi": Column("eSTOI", 3),
    "si_sdr": Column("SI-SDR (dB)"),
    "segmental_snr": Column("segmental SNR (dB)"),
    "log_spectral_distance": Column("LSD (dB)", better=-1),
    "spectrogram_mse": Column("spectrogram MSE", 5, better=-1),
    "spectrogram_ssim": Column("spectrogram SSIM", 3),
    "dnsmos_sig": Column("DNSMOS SIG"),
    "dnsmos_bak": Column("DNSMOS BAK"),
    "dnsmos_ovrl": Column("DNSMOS OVRL"),
    "dnsmos_p808": Column("DNSMOS P.808"),
    "snr_estimate_db": Column("estimated SNR (dB)", 1),
    "noise_floor_dbfs": Column("noise floor (dBFS)", 1, better=-1),
    "speech_level_dbfs": Column("speech level (dBFS)", 1, better=0),
    "hum_db": Column("mains hum (dB)", 1, better=-1),
    "clipping_percent": Column("clipped samples (%)", better=-1),
    "offset_percent": Column("constant offset (%)", better=-1),
    "bandwidth_hz": Column("bandwidth (Hz)", 0),
}
KEY_METRICS = ("pesq_wb", "pesq_nb", "stoi", "si_sdr", "dnsmos_ovrl")
KEY_METRICS_OF_SINGLES = ("dnsmos_ovrl", "dnsmos_p808", "snr_estimate_db")


def summarise(rows: Sequence[Row]) -> Summary:
    """Means of all systems.

    Args:
        rows: of every file and system.

    Returns:
        `scores`: system -> metric -> mean; `by_snr` and `by_class`: label -> the same; `verdicts`:
        system -> the grade of the mean, how many recordings have which fault, and how the grade
        differs from that of the noisy recordings;
        `unscored` and `failed`: what was left out and why; `remarks`: what was done to files.
    """
    scored = [row for row in rows if "scores" in row]
    scores = _means(scored)
    bands = {id(row): snr_band(row["snr_db"]) for row in scored}
    classes = {id(row): row["class"] for row in scored}
    return {
        "scores": scores,
        "verdicts": _verdicts_on_all(scored, scores),
        "by_snr": _means_by(scored, bands, key=lambda label: float(label.split()[0])),
        "by_class": _means_by(scored, classes, key=str),
        "unscored": [
            {"file": row["file"], "system": row["system"], "metric": metric, "reason": reason}
            for row in scored
            for metric, reason in row["unscored"].items()
        ],
        "failed": [_only(row, "error") for row in rows if "error" in row],
        "remarks": [_only(row, "remark") for row in rows if "remark" in row],
    }


def by_recording(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The scores and verdicts of all systems on each recording, in the order of the rows.

    Returns:
        A dictionary for each recording that was scored: `file`, `class`, and by system `scores`
        and `verdicts`, which say why there are no scores where there are none.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "scores" in row:
            about = {"file": row["file"], "class": row["class"], "scores": {}, "reasons": {}}
            recording = found.setdefault(row["file"], about)
            recording["scores"][row["system"]] = row["scores"]
            if not row["scores"]:
                reasons = dict.fromkeys(row["unscored"].values())
                recording["reasons"][row["system"]] = [", ".join(reasons), ""]
    return [
        each | {"verdicts": _verdicts(each["scores"]) | each.pop("reasons")}
        for each in found.values()
    ]


def most_scored(scores: Mapping[str, Mapping[str, Mean]]) -> int:
    """How many recordings are in the mean that the most are in."""
    return max((mean["n"] for means in scores.values() for mean in means.values()), default=0)


def counted(summary: Summary) -> str:
    """What the means are of: `6 recordings`, or `4 of 6 recordings` where some were left out."""
    n_scored, n_all = most_scored(summary["scores"]), summary["about"]["files"]
    kind = "pairs" if summary["about"]["rate"] else "recordings"
    return f"{n_all} {kind}" if n_scored == n_all else f"{n_scored} of {n_all} {kind}"


def heading_of_systems(summary: Summary) -> str:
    """The heading of the column of systems; it has the counts where recordings were left out."""
    is_whole = most_scored(summary["scores"]) == summary["about"]["files"]
    return "system" if is_whole else f"system ({counted(summary)})"


def merged_failed(summary: Summary) -> list[str]:
    """A line for each recording that failed; systems are named where it did not fail for all.

    Returns:
        Lines such as `a.wav: Cannot read a.wav` or `b.wav, dpcrn: Cannot denoise b.wav`.
    """
    systems: dict[tuple[str, str], list[str]] = {}
    for it in summary["failed"]:
        systems.setdefault((it["file"], it["error"]), []).append(it["system"])
    everything = {*summary["scores"], *(it["system"] for it in summary["failed"])}
    return [
        f"{file}: {error}" if set(names) == everything else f"{file}, {listed(names)}: {error}"
        for (file, error), names in systems.items()
    ]


def merged_unscored(summary: Summary) -> list[str]:
    """A line for each recording that could not be scored, as short as its reasons allow.

    Returns:
        Lines such as `a.wav, noisy and dpcrn, dnsmos and condition: the recording is silent`.
    """
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for it in summary["unscored"]:
        metrics.setdefault((it["file"], it["reason"], it["system"]), []).append(it["metric"])
    systems: dict[tuple[str, str, str], list[str]] = {}
    for (file, reason, system), names in metrics.items():
        systems.setdefault((file, reason, listed(names)), []).append(system)
    return [
        f"{file}, {listed(names)}, {measured}: {reason}"
        for (file, reason, measured), names in systems.items()
    ]


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _verdicts(scores: dict[str, dict[str, float]]) -> dict[str, list[str]]:
    """The verdict on each system, and the change relative to the noisy recording."""
    return {system: [verdict(each), _change(scores, system)] for system, each in scores.items()}


def _change(scores: dict[str, dict[str, float]], system: str) -> str:
    """How a system differs from the noisy recording; nothing for that itself."""
    return "" if system == "noisy" else change(scores.get("noisy", {}), scores[system])


def _verdicts_on_all(rows: Sequence[Row], scores: Summary) -> dict[str, list[str]]:
    """Of each system, the verdict on all recordings and the change against the noisy ones."""
    means = {
        system: {name: mean["mean"] for name, mean in each.items()}
        for system, each in scores.items()
    }
    recordings: dict[str, list[dict[str, float]]] = {system: [] for system in means}
    for row in rows:
        recordings[row["system"]].append(row["scores"])
    return {
        system: [verdict_on_all(mean, recordings[system]), _change(means, system)]
        for system, mean in means.items()
    }


def key_metrics(scores: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The metrics that matter most, among those that some system has.

    Args:
        scores: system -> metric -> anything.
    """
    known = {name for means in scores.values() for name in means}
    have_clean = known & (set(KEY_METRICS) - set(KEY_METRICS_OF_SINGLES))
    names = KEY_METRICS if have_clean else KEY_METRICS_OF_SINGLES
    return tuple(name for name in names if name in known)


def grading_metric(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """The metric by which recordings without clean ones are compared."""
    is_graded = any(GRADE in means for means in scores.values())
    return GRADE if is_graded else "snr_estimate_db"


def _only(row: Row, field: str) -> Row:
    """One field of a row, with the file and the system that it is about."""
    return {name: row[name] for name in ("file", "system", field)}


def _means(rows: Sequence[Row]) -> dict[str, dict[str, Mean]]:
    """System -> metric -> mean, in the order of the rows and of `COLUMNS`."""
    means: dict[str, dict[str, Mean]] = {}
    for system in dict.fromkeys(row["system"] for row in rows):
        scores = [row["scores"] for row in rows if row["system"] == system]
        values = {name: [s[name] for s in scores if name in s] for name in COLUMNS}
        means[system] = {name: mean_of(each) for name, each in values.items() if each}
    return means


def _means_by(rows: Sequence[Row], labels: dict[int, str | None], key: Any) -> Summary:
    """Label -> system -> metric -> mean; rows without a label do not count."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        label = labels[id(row)]
        if label is not None:
            groups.setdefault(label, []).append(row)
    return {label: _means(groups[label]) for label in sorted(groups, key=key)}


def mean_of(values: Sequence[float]) -> Mean:
    """Mean with its 95 % confidence interval by the percentile bootstrap.

    Args:
        values: one for each file; the interval speaks of other files drawn like these.

    Returns:
        `mean`, `low`, `high`, and the count `n`.

    Reference:
        Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7(1), 1979.
    """
    array = np.asarray(values, np.float64)
    means = array[_resamples(len(array))].mean(axis=1)
    outside = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(means, (outside, 1.0 - outside))
    return {"mean": float(array.mean()), "low": float(low), "high": float(high), "n": len(array)}


@functools.lru_cache(maxsize=64)
def _resamples(count: int) -> np.ndarray:
    """Which of `count` values each resample draws; the same for every metric and run."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def snr_band(snr_db: float | None) -> str | None:
    """The band of 5 dB that an input SNR lies in, as a label that begins with its lower edge."""
    if snr_db is None:
        return None
    low = math.floor(snr_db / SNR_STEP_DB) * SNR_STEP_DB
    return f"{low:.0f} to {low + SNR_STEP_DB:.0f} dB"


def improvements(rows: Sequence[Row], metric: str) -> dict[str, np.ndarray]:
    """Input SNR (dB) and gain over the noisy input of each file, by system, (files, 2)."""
    before = {
        row["file"]: row["scores"][metric]
        for row in rows
        if row["system"] == "noisy" and metric in row.get("scores", {})
    }
    gains: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        known = row["file"] in before and metric in row.get("scores", {})
        if row["system"] != "noisy" and known and row["snr_db"] is not None:
            gain = row["scores"][metric] - before[row["file"]]
            gains.setdefault(row["system"], []).append((row["snr_db"], gain))
    return {system: np.array(points) for system, points in gains.items()}


def worst_files(rows: Sequence[Row], system: str, count: int) -> list[str]:
    """Files on which a system has the lowest PESQ, the worst first."""
    scored = [
        (row["scores"]["pesq"], row["file"])
        for row in rows
        if row["system"] == system and "pesq" in row.get("scores", {})
    ]
    return [file for _, file in sorted(scored)[:count]]
