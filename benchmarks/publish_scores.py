"""Turn the reports of evaluations into RESULTS.json, RESULTS.md and the README's tables.

    python benchmarks/publish_scores.py out/benchmark_16000 out/benchmark_8000

With --add, the systems of the reports join those that are published, for the same pairs. With
--equal_hours, docs/training.md compares networks that were trained with the same hours of audio.
Without reports, the Markdown is written anew from RESULTS.json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.page_parts import with_part  # noqa: E402
from speech_enhancement import registry  # noqa: E402
from speech_enhancement.files import provenance  # noqa: E402
from speech_enhancement.files.atomic import write_text  # noqa: E402
from speech_enhancement.inference import pictures  # noqa: E402
from speech_enhancement.inference.card import ModelCard  # noqa: E402
from speech_enhancement.scoring import report  # noqa: E402
from speech_enhancement.scoring.summary import COLUMNS  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "RESULTS.json"
README = REPOSITORY / "README.md"
EQUAL_HOURS = REPOSITORY / "benchmarks" / "EQUAL_HOURS.json"
EQUAL_CURVES = REPOSITORY / "docs" / "equal_hours.png"
TRAINING_PAGE = REPOSITORY / "docs" / "training.md"
WEIGHTS = REPOSITORY / "weights"
PART = "scores"
KEY_PART = "key_scores"
EQUAL_PART = "equal_hours"
README_METRICS = (
    *("pesq_wb", "pesq_nb", "stoi", "si_sdr", "csig", "dnsmos_ovrl"),
    *("spectrogram_mse", "spectrogram_ssim"),
)
EQUAL_METRICS = ("pesq_wb", "stoi", "si_sdr", "dnsmos_ovrl")
README_COSTS = ("real_time_factor", "parameters", "macs_per_s")


def main(argv: list[str] | None = None) -> None:
    """Read the reports, write the results and what is made of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="*", type=Path, help="folders of evaluations")
    parser.add_argument("--add", action="store_true", help="keep the other systems' scores")
    parser.add_argument(
        "--equal_hours",
        type=Path,
        help="folder of networks that were trained with as much audio as most of weights/, and of "
        "their evaluation in scores/",
    )
    options = parser.parse_args(argv)
    if options.reports:
        summaries = [_report(path) for path in options.reports]
        if options.add:
            summaries = with_systems(json.loads(RESULTS.read_text()), summaries)
        write_text(RESULTS, json.dumps(summaries, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    if options.equal_hours:
        equal = _report(options.equal_hours / "scores")
        hours = {name: _hours(name, options.equal_hours) for name in equal["scores"]}
        write_text(EQUAL_HOURS, json.dumps(equal | {"hours": hours}, indent=1) + "\n")
        pictures.save_figure(curves_picture(options.equal_hours), EQUAL_CURVES)
    equal_hours = json.loads(EQUAL_HOURS.read_text())
    table = equal_hours_table(results[0], equal_hours)
    write_text(TRAINING_PAGE, with_part(TRAINING_PAGE.read_text(), EQUAL_PART, table))
    write_text(RESULTS.with_suffix(".md"), results_markdown(results))
    page = with_part(README.read_text(), KEY_PART, readme_key_scores(results))
    write_text(README, with_part(page, PART, readme_scores(results)))


def _report(folder: Path) -> dict[str, Any]:
    """The report of an evaluation, as it is published."""
    return provenance.shareable(json.loads((folder / "report.json").read_text()))


def with_systems(
    results: list[dict[str, Any]], reports: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Published summaries with the systems of further reports on the same pairs.

    Raises:
        SystemExit: the noisy recordings of a report are not those of any summary.
    """
    for report_ in reports:
        same = [index for index, summary in enumerate(results) if _same_pairs(summary, report_)]
        if len(same) != 1:
            raise SystemExit("error: `reports` to add must be of the pairs that are published")
        results = [*results]
        results[same[0]] = _joined(results[same[0]], report_)
    return results


def _same_pairs(summary: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the noisy recordings of two summaries have the same scores at the same rate."""
    if summary["about"]["rate"] != other["about"]["rate"]:
        return False
    noisy, others = summary["scores"]["noisy"], other["scores"]["noisy"]
    return noisy.keys() <= others.keys() and all(
        math.isclose(each["mean"], others[name]["mean"], rel_tol=1e-6)
        for name, each in noisy.items()
    )


def _joined(summary: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """A summary with the systems of another one, which replace those of the same names.

    They have the metrics that the summary has.
    """
    names = ", ".join(name for name in added["scores"] if name != "noisy")

    def join(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        kept = {
            system: {name: mean for name, mean in means.items() if name in old["noisy"]}
            for system, means in new.items()
            if system != "noisy"
        }
        return _in_order(old | kept)

    facts = added["about"]
    note = f"{names}: {facts['date']}, {facts['machine']}, `{facts['command']}`"
    others = [
        each for each in summary["about"].get("notes", []) if not each.startswith(f"{names}: ")
    ]
    return summary | {
        "scores": join(summary["scores"], added["scores"]),
        "cost": _in_order(summary["cost"] | added["cost"]),
        "by_snr": {
            name: join(scores, added["by_snr"][name]) for name, scores in summary["by_snr"].items()
        },
        "about": summary["about"] | {"notes": [*others, note]},
    }


def _in_order(by_system: dict[str, Any]) -> dict[str, Any]:
    """Values by system: noisy, then the networks by name, then the others."""
    networks = sorted(name for name in by_system if (WEIGHTS / f"{name}.json").is_file())
    others = [name for name in by_system if name not in (*networks, "noisy")]
    names = ["noisy", *networks, *others]
    return {name: by_system[name] for name in names if name in by_system}


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
        f"{facts['machine']}; `{facts['command']}`"
    )
    text = "; ".join([text, *facts.get("notes", [])])
    return f"{text}:\n\n{report.table(['system', *headings], rows)}"


def equal_hours_table(summary: dict[str, Any], equal: dict[str, Any]) -> str:
    """Networks that were trained with the same hours of audio, the best SI-SDR first.

    Args:
        summary: a published one, of which the networks with these hours are taken.
        equal: the published report of networks that are not shipped, and their `hours`.
    """
    scores, hours = dict(equal["scores"]), dict(equal["hours"])
    usual = max(float(each) for each in hours.values() if each != "-")
    for name, means in summary["scores"].items():
        if (WEIGHTS / f"{name}.json").is_file() and abs(float(_hours(name)) / usual - 1.0) < 0.02:
            scores[name], hours[name] = means, _hours(name)
    ordered = sorted(scores, key=lambda name: scores[name]["si_sdr"]["mean"], reverse=True)
    ordered.sort(key="noisy".__ne__)
    rows = [
        [
            report.label(name),
            *(_mean(scores[name].get(key), key) for key in EQUAL_METRICS),
            hours[name],
        ]
        for name in ordered
    ]
    headings = ["system", *(COLUMNS[name].label for name in EQUAL_METRICS)]
    facts = equal["about"]
    return (
        f"{facts['pairs']}, {facts['files']} pairs at {facts['rate']} Hz; "
        f"`{facts['command']}`, and the README's table:\n\n"
        + report.table([*headings, "hours of training audio"], rows)
    )


def curves_picture(folder: Path) -> Figure:
    """The losses of the networks of a folder over the epochs of their training."""
    cards = {path.stem: ModelCard.load(path) for path in sorted(folder.glob("*.json"))}
    figure = Figure(figsize=(10.0, 3.2 * math.ceil(len(cards) / 2)), layout="constrained")
    for number, (name, card) in enumerate(cards.items(), start=1):
        axis = figure.add_subplot(math.ceil(len(cards) / 2), 2, number)
        pictures.draw_losses(axis, card.training["curve"])
        axis.set_title(name)
    return figure


def _hours(system: str, folder: Path = WEIGHTS) -> str:
    """Hours of audio that a network was trained with, as its card says."""
    path = folder / f"{system}.json"
    return f"{ModelCard.load(path).training['hours_heard']:.1f}" if path.is_file() else "-"


def _mean(mean: dict[str, Any] | None, metric: str) -> str:
    """A mean without its interval, which RESULTS.md has."""
    return "-" if mean is None else f"{mean['mean']:.{COLUMNS[metric].digits}f}"


if __name__ == "__main__":
    main()
