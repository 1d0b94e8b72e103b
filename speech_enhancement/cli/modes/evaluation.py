"""--mode evaluation: score networks, baselines, peers and folders of results on pairs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_enhancement import places, registry
from speech_enhancement.corpora import pairs as pairing
from speech_enhancement.corpora.pairs import Pair
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, audio_io, provenance
from speech_enhancement.scoring import cost, report
from speech_enhancement.scoring import summary as score_summary
from speech_enhancement.scoring import systems as choices
from speech_enhancement.scoring.scorer import Row, Scorer, ScoreStore, score_all
from speech_enhancement.scoring.summary import KEY_METRICS, Summary
from speech_enhancement.scoring.systems import System

WIDE_BAND_RATE, NARROW_BAND_RATE = 16000, 8000
PACKAGES = ("numpy", "scipy", "onnxruntime", "pesq", "pystoi", "speechmos", "soxr")


def run(options: argparse.Namespace) -> int:
    """Score, write the report, and show its key figures; 1 if any file failed."""
    pairs, rate = find_pairs(options)
    systems = choose_systems(options, pairs)
    scorer = Scorer(rate, metrics_at(rate, options.metrics))
    folder = make_folder(options.report_dir)
    store = ScoreStore(folder / "rows.jsonl")
    rows = score_all(pairs, systems, scorer, store, options.jobs)

    summary = score_summary.summarise(rows)
    summary["cost"] = costs(systems, rate) if options.measure_cost else {}
    summary["about"] = about(options, pairs, rate)
    write_report(folder, summary, rows)
    draw(folder, rows)
    keep_worst(folder, rows, pairs, systems, scorer, options.worst)
    print(report.console_table(summary))
    print(f"Wrote {folder / 'report.md'}")
    return tell_left_out(summary)


def find_pairs(options: argparse.Namespace) -> tuple[list[Pair], int]:
    """What to score, and the rate to do it at.

    Raises:
        UserError: the folders do not hold pairs.
        UsageError: an option is out of its range.
    """
    for name in ("clean_dir", "noisy_dir"):
        if getattr(options, name) is None:
            raise UsageError(f"`--mode evaluation` needs --clean_dir and --noisy_dir; no {name}")
        if len(getattr(options, name)) > 1:
            folders = " ".join(map(str, getattr(options, name)))
            raise UsageError(
                f"`{name}` must be a single folder in --mode evaluation. Received: {folders}"
            )
    pairs = pairing.find_pairs(options.clean_dir[0], options.noisy_dir[0], options.enhanced_dir)
    pairs = pairs[:: options.every][: options.limit]
    if not pairs:
        raise UsageError("`limit` leaves no pair to score. Received: 0")
    if options.pairs_csv:
        pairs = pairing.with_table(pairs, options.pairs_csv)
    if options.name_pattern:
        pairs = pairing.with_pattern(pairs, options.name_pattern)
    lowest = pairing.check_headers(pairs)
    wide = lowest >= WIDE_BAND_RATE
    return pairs, options.sample_rate_evaluation or (WIDE_BAND_RATE if wide else NARROW_BAND_RATE)


def choose_systems(options: argparse.Namespace, pairs: Sequence[Pair]) -> list[System]:
    """The noisy input first, then networks, folders, baselines and peers.

    Raises:
        UserError: a network is missing.
        UsageError: there is no baseline or peer of a name.
    """
    stems = networks(options)
    chosen = [choices.NOISY, *(choices.network_system(stem) for stem in stems)]
    chosen += [System(name, "folder", name) for name in pairs[0].enhanced]
    for name in options.systems:
        registry.resolve(registry.SYSTEMS, "systems", name)
        chosen.append(System(name, "baseline", name))
    for name in options.peers:
        try:
            registry.resolve(registry.PEERS, "peers", name)()
        except UsageError:
            raise
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        chosen.append(System(name, "peer", name))
    names = [system.name for system in chosen]
    if len(set(names)) < len(names):
        raise UsageError(f"Systems must differ in name. Received: {', '.join(names)}")
    return chosen


def networks(options: argparse.Namespace) -> list[Path]:
    """Stems of the networks to score: those named, or --name_model, or none beside a folder.

    Raises:
        UserError: all are asked for, and there are none.
    """
    if options.models == ["all"]:
        folder = places.folder_of_networks(options.weights_folder)
        found = sorted(path.with_suffix("") for path in folder.glob("*.onnx"))
        if not found:
            raise UserError(f"There are no networks in {folder}")
        return found
    if options.enhanced_dir and options.models is None:
        return []
    names = [options.name_model] if options.models is None else options.models
    return [places.network_stem(options.weights_folder, name) for name in names]


def metrics_at(rate: int, names: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to compute; by default all that a rate allows."""
    for name in names or []:
        registry.resolve(registry.METRICS, "metrics", name)
    narrow = [name for name in registry.METRICS if rate >= WIDE_BAND_RATE or name != "pesq_wb"]
    return tuple(names or narrow)


def make_folder(path: Path) -> Path:
    """The folder of the report.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}") from error
    return path


def costs(systems: Sequence[System], rate: int) -> dict[str, Any]:
    """What every system costs, one after the other so that none slows another."""
    return {system.name: dataclasses.asdict(cost.measure(system, rate)) for system in systems}


def about(options: argparse.Namespace, pairs: Sequence[Pair], rate: int) -> dict[str, Any]:
    """When, where, with what and how the scores were made."""
    return {
        "pairs": options.pairs_name or "/".join(options.noisy_dir[0].resolve().parts[-2:]),
        "files": len(pairs),
        "rate": rate,
        **provenance.circumstances(PACKAGES),
    }


def write_report(folder: Path, summary: Summary, rows: Sequence[Row]) -> None:
    """Write the report for people, for spreadsheets and for programs."""
    texts = {
        "report.md": report.markdown(summary),
        "report.json": json.dumps(summary, indent=1, ensure_ascii=False) + "\n",
        "scores.csv": report.scores_csv(rows),
    }
    for name, text in texts.items():
        with atomic.replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def draw(folder: Path, rows: Sequence[Row]) -> None:
    """Draw gains against input SNR and the distributions of the key scores."""
    from speech_enhancement.inference import pictures
    from speech_enhancement.scoring import figures as report_figures

    used = [name for name in KEY_METRICS if any(name in row.get("scores", {}) for row in rows)]
    if not used:
        return
    figures = {"distribution.png": report_figures.distribution_figure(rows, used)}
    if len({row["system"] for row in rows}) > 1:
        figures["improvement.png"] = report_figures.improvement_figure(rows, used)
    for name, figure in figures.items():
        pictures.save_figure(figure, folder / name)


def keep_worst(
    folder: Path,
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    systems: Sequence[System],
    scorer: Scorer,
    count: int,
) -> None:
    """Lay the recordings that each system does worst beside their spectrograms, to listen to."""
    from speech_enhancement.inference import pictures
    from speech_enhancement.scoring import figures as report_figures

    by_name = {pair.name: pair for pair in pairs}
    for system in systems:
        files = (
            [] if system.kind == "noisy" else score_summary.worst_files(rows, system.name, count)
        )
        if files:  # those of an earlier report may have been others
            shutil.rmtree(folder / "worst" / system.name, ignore_errors=True)
        for place, name in enumerate(files, 1):
            clean, noisy, estimate, _ = scorer.sounds(by_name[name], system)
            sounds = {"clean": clean, "noisy": noisy, "enhanced": estimate}
            stem = folder / "worst" / system.name / f"{place}_{name.replace('/', '_')}"
            figure = report_figures.example_figure(sounds, scorer.rate, f"{system.name}: {name}")
            pictures.save_figure(figure, stem.with_name(f"{stem.name}.png"))
            for kind, sound in sounds.items():
                path = stem.with_name(f"{stem.name}_{kind}.wav")
                audio_io.save_audio(path, sound, scorer.rate, subtype="FLOAT")


def tell_left_out(summary: Summary) -> int:
    """Name the files that failed or that a metric could not score; 1 if any failed."""
    for it in summary["failed"]:
        print(f"failed: {it['file']}, {it['system']}: {it['error']}", file=sys.stderr)
    for it in summary["unscored"]:
        where = f"{it['file']}, {it['system']}, {it['metric']}"
        print(f"left out: {where}: {it['reason']}", file=sys.stderr)
    return 1 if summary["failed"] else 0
