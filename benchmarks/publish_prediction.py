"""Turn prediction.json, which prediction.py wrote, into the figures of docs/speed.md.

python benchmarks/publish_prediction.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.page_parts import with_part  # noqa: E402
from benchmarks.prediction import RESULTS, THREADS, WINDOW_S  # noqa: E402
from speech_enhancement.files.atomic import write_text  # noqa: E402
from speech_enhancement.inference.pictures import save_figure  # noqa: E402
from speech_enhancement.scoring.report import table  # noqa: E402

PAGE = REPOSITORY / "docs" / "speed.md"
PICTURE = PAGE.with_name("prediction_memory.png")
PART = "prediction"
LIMIT_MIB = 500.0 * 1e6 / 2**20
LENGTHS = {"3_h": "3 hours", "1_min": "1 minute"}
REFERENCE_LABEL = "reference: `model.predict` per window"
RUNTIMES = {"onnx": "ONNX Runtime", "keras": "Keras"}


def main() -> None:
    """Write the picture and its section of the page."""
    results = json.loads(RESULTS.read_text())
    if "long" in results:
        save_figure(memory_figure(results["long"]["figures"]), PICTURE)
    text = with_part(PAGE.read_text(), PART, prediction_figures(results))
    write_text(PAGE, text)


def prediction_figures(results: dict[str, Any]) -> str:
    """What the parts that were measured say, each with where and how it was."""
    texts = []
    for part, describe in PARTS.items():
        if part in results:
            about = results[part]["about"]
            origin = f"{about['machine']}, {about['date']}; `{about['command']}`"
            texts.append(f"{describe(results[part]['figures'])}\n\n({origin})")
    return "\n\n".join(texts)


def describe_cold(figures: dict[str, Any]) -> str:
    """Seconds of the whole command."""
    rows = [
        [network, *(f"{runs[r]['median_s']:.2f} s" if r in runs else "-" for r in RUNTIMES)]
        for network, runs in figures.items()
    ]
    text = "**Start**: duration of the whole command, which denoises a recording of 5 s at 48 kHz:"
    return f"{text}\n\n{table(['network', *RUNTIMES.values()], rows)}"


def describe_threads(figures: dict[str, Any]) -> str:
    """Windows a second, and how much faster than the reference that is."""
    reference = figures.get("reference", {}).get("keras", {})
    rows = []
    for network, runtime, speeds in _speeds(figures):
        label = REFERENCE_LABEL if network == "reference" else f"{network}, {RUNTIMES[runtime]}"
        rows.append([label, *_speed_cells(speeds)])
        for threads in map(str, THREADS) if reference else ():
            ratio = speeds[threads]["windows_per_s"] / reference[threads]["windows_per_s"]
            rows[-1].append(f"{ratio:.1f}x")
    headings = ["method", *_per_thread("windows/s, {}"), *_per_thread("real time, {}")]
    headings += _per_thread("relative to the reference, {}") if reference else []
    text = f"**Speed**: windows of {WINDOW_S} s per second, including their overlap and the STFT:"
    return f"{text}\n\n{table(headings, rows)}"


def _speeds(figures: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Network, runtime and speeds, the reference first."""
    for network in sorted(figures, key=lambda name: name != "reference"):
        for runtime, speeds in figures[network].items():
            yield network, runtime, speeds


def _speed_cells(speeds: dict[str, Any]) -> list[str]:
    """Windows a second and times real time, for each number of threads."""
    windows = [f"{speeds[str(t)]['windows_per_s']:.1f}" for t in THREADS]
    return windows + [f"{speeds[str(t)]['times_real_time']:.1f}x" for t in THREADS]


def _per_thread(heading: str) -> list[str]:
    """A heading for each number of threads."""
    return [heading.format("1 thread" if t == 1 else f"{t} threads") for t in THREADS]


def describe_variants(figures: dict[str, Any]) -> str:
    """Speed and likeness of narrower numbers and other runtimes."""
    rows = []
    for network, variants in figures.items():
        shipped = variants["onnx_float32"]
        rows += [
            [network, f"`{name}`", *_variant_cells(runs, shipped)]
            for name, runs in variants.items()
        ]
    headings = ["network", "variant", *_per_thread("windows/s, {}"), "speed-up", "SI-SDR (dB)"]
    text = (
        "**Runtimes and reduced precision**: the speed of each variant, its speed-up over the "
        "shipped network (`onnx_float32`; the higher of those with 1 and 2 threads), and the "
        "SI-SDR between their outputs. Below 40 dB the difference is audible, so that such a "
        "variant cannot be the default:"
    )
    return f"{text}\n\n{table(headings, rows)}"


def _variant_cells(runs: dict[str, Any], shipped: dict[str, Any]) -> list[str]:
    """Windows a second, best speed-up and SI-SDR of a variant, or that it does not run."""
    if any("failed" in run for run in runs.values()):
        return ["does not run", *["-"] * (len(THREADS) + 1)]
    ratios = [runs[t]["windows_per_s"] / shipped[t]["windows_per_s"] for t in runs]
    likeness = min(run["si_sdr_db"] for run in runs.values())
    return [
        *(f"{run['windows_per_s']:.1f}" for run in runs.values()),
        f"{max(ratios):.2f}x",
        "identical" if likeness > 140 else f"{likeness:.1f}",
    ]


def describe_long(figures: dict[str, Any]) -> str:
    """The most memory that a long and a short recording took."""
    peaks = {name: figures[name]["peak_mib"] for name in LENGTHS}
    return (
        f"**Memory**: a stereo recording of 3 hours at 48 kHz takes at most "
        f"{peaks['3_h']:.0f} MiB, and one of a minute {peaks['1_min']:.0f} MiB "
        f"({figures['network']}).\n\n"
        f"![Memory over time]({PICTURE.name})"
    )


def memory_figure(figures: dict[str, Any]) -> Figure:
    """Memory over the course of both runs."""
    figure = Figure(figsize=(7, 3))
    axis = figure.add_subplot()
    for name, label in LENGTHS.items():
        curve = figures[name]["curve_s_mib"]
        course = [100.0 * second / curve[-1][0] for second, _ in curve]
        axis.plot(course, [held for _, held in curve], label=f"{label}, 48 kHz, stereo")
    axis.axhline(LIMIT_MIB, color="0.5", linestyle=":", label="500 MB")
    axis.set_ylim(0.0, 1.15 * LIMIT_MIB)
    axis.set_xlim(0.0, 100.0)
    axis.set_xlabel("course of the command (%)")
    axis.set_ylabel("memory (MiB)")
    axis.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.65))
    return figure


PARTS = {
    "cold": describe_cold,
    "threads": describe_threads,
    "variants": describe_variants,
    "long": describe_long,
}


if __name__ == "__main__":
    main()
