"""Turn the reports of evaluations into RESULTS.json, RESULTS.md and the README's tables.

    python benchmarks/publish_scores.py out/benchmark_16000 out/benchmark_8000

Without reports, the Markdown is written anew from RESULTS.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.page_parts import with_part  # noqa: E402
from speech_enhancement import registry  # noqa: E402
from speech_enhancement.files import provenance  # noqa: E402
from speech_enhancement.files.atomic import replacing  # noqa: E402
from speech_enhancement.inference.card import ModelCard  # noqa: E402
from speech_enhancement.scoring import report  # noqa: E402
from speech_enhancement.scoring.summary import COLUMNS  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "RESULTS.json"
README = REPOSITORY / "README.md"
WEIGHTS = REPOSITORY / "weights"
PART = "scores"
KEY_PART = "key_scores"
README_METRICS = (
    *("pesq_wb", "pesq_nb", "stoi", "si_sdr", "csig", "dnsmos_ovrl"),
    *("spectrogram_mse", "spectrogram_ssim"),
)
README_COSTS = ("real_time_factor", "parameters", "macs_per_s")


def main(argv: list[str] | None = None) -> None:
    """Read the reports, write the results and what is made of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="*", type=Path, help="folders of evaluations")
    options = parser.parse_args(argv)
    if options.reports:
        summaries = [json.loads((path / "report.json").read_text()) for path in options.reports]
        _write(RESULTS, json.dumps(list(map(published, summaries)), indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    _write(RESULTS.with_suffix(".md"), results_markdown(results))
    page = with_part(README.read_text(), KEY_PART, readme_key_scores(results))
    _write(README, with_part(page, PART, readme_scores(results)))


def published(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary whose command others can repeat: folders by their own names only."""
    command = provenance.shareable_command(summary["about"]["command"])
    return summary | {"about": summary["about"] | {"command": command}}


def results_markdown(results: list[dict[str, Any]]) -> str:
    """RESULTS.md: the whole report of every run."""
    return "\n".join(report.markdown(summary) for summary in results)


def readme_scores(results: list[dict[str, Any]]) -> str:
    """The README's scores: one table for each run."""
    return "\n\n".join(_readme_table(summary) for summary in results)


def readme_key_scores(results: list[dict[str, Any]]) -> str:
    """What the two default networks reach in the first run, for the top of the README."""
    about, scores = results[0]["about"], results[0]["scores"]
    metrics = ("pesq_wb", "si_sdr")
    (pesq, si_sdr), (best_pesq, best_si_sdr), (live_pesq, live_si_sdr) = (
        [_mean(scores[system].get(metric), metric) for metric in metrics]
        for system in ("noisy", registry.DEFAULT_NETWORK, registry.LIVE_NETWORK)
    )
    return (
        f"On the {about['pairs']}, the network for recordings raises PESQ from {pesq} to\n"
        f"{best_pesq} and the SI-SDR from {si_sdr} dB to {best_si_sdr} dB; the network for live "
        f"sound reaches\n{live_pesq} and {live_si_sdr} dB ([all scores](#scores))."
    )


def _readme_table(summary: dict[str, Any]) -> str:
    """What was measured on what, and a row for each system."""
    facts, scores, cost = summary["about"], summary["scores"], summary["cost"]
    metrics = [name for name in README_METRICS if any(name in each for each in scores.values())]
    shown = [key for key in README_COSTS if any(each.get(key) for each in cost.values())]
    headings = [COLUMNS[name].label for name in metrics]
    headings += [report.COST_COLUMNS[key][0] for key in shown]
    headings += ["hours of training audio"]
    rows = [
        [
            report.label(system),
            *(_mean(means.get(name), name) for name in metrics),
            *(report.cost_cell(cost.get(system, {}), key) for key in shown),
            _hours(system),
        ]
        for system, means in scores.items()
    ]
    text = (
        f"{facts['pairs']}, {facts['files']} pairs at {facts['rate']} Hz, {facts['date']}, "
        f"{facts['machine']}; `{facts['command']}`:"
    )
    return f"{text}\n\n{report.table(['system', *headings], rows)}"


def _hours(system: str) -> str:
    """Hours of audio that a network was trained with, as its card says."""
    path = WEIGHTS / f"{system}.json"
    return f"{ModelCard.load(path).training['hours_heard']:.1f}" if path.is_file() else "-"


def _mean(mean: dict[str, Any] | None, metric: str) -> str:
    """A mean without its interval, which RESULTS.md has."""
    return "-" if mean is None else f"{mean['mean']:.{COLUMNS[metric].digits}f}"


def _write(path: Path, text: str) -> None:
    """Write a text wholly or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    main()
