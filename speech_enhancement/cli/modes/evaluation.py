"""--mode evaluation: score networks, baselines, peers and folders of results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from speech_enhancement.errors import UsageError
from speech_enhancement.inference import network_files
from speech_enhancement.scoring import evaluation, report
from speech_enhancement.scoring.evaluation import PairFolders
from speech_enhancement.scoring.summary import Summary, merged_failed, merged_unscored


def run(options: argparse.Namespace) -> int:
    """Score, and show the key figures of the report; 1 if any file failed."""
    evaluated = evaluation.evaluate(
        folders_of(options),
        networks(options),
        options.systems,
        options.peers,
        metrics=options.metrics,
        rate=options.sample_rate_evaluation,
        report_dir=options.report_dir,
        worst=options.worst,
        measure_cost=options.measure_cost and options.clean_dir is not None,
        jobs=options.jobs,
        listen=options.listen,
        test_windows=options.test_windows,
    )
    print(report.console_table(evaluated.summary))
    for network, known in evaluated.summary["losses"].items():
        value = known.get("test")
        words = known["reason"] if value is None else f"{value:.4g} ({known['loss_function']})"
        print(f"{network}: loss on the test split: {words}")
    for system, words in evaluated.summary["verdicts"].items():
        if words[0]:
            print(f"{system}: {'; '.join(filter(None, words))}")
    print(f"Wrote {evaluated.folder / 'report.md'}")
    return tell_left_out(evaluated.summary)


def folders_of(options: argparse.Namespace) -> PairFolders:
    """The recordings that the options name.

    Raises:
        UsageError: there are no noisy recordings, or several folders.
    """
    if options.noisy_dir is None:
        raise UsageError(
            "`--mode evaluation` needs --noisy_dir, and --clean_dir if there are clean recordings"
        )
    for name in ("clean_dir", "noisy_dir"):
        if len(getattr(options, name) or []) > 1:
            folders = " ".join(map(str, getattr(options, name)))
            raise UsageError(
                f"`{name}` must be a single folder in --mode evaluation. Received: {folders}"
            )
    return PairFolders(
        options.clean_dir[0] if options.clean_dir else None,
        options.noisy_dir[0],
        options.enhanced_dir,
        options.every,
        options.limit,
        options.pairs_csv,
        options.name_pattern,
        options.pairs_name,
    )


def networks(options: argparse.Namespace) -> list[Path]:
    """Stems of the networks to score: those named, or --name_model, or none beside a folder.

    Raises:
        UserError: all are asked for, and there are none.
    """
    if options.enhanced_dir and options.models is None:
        return []
    names = [options.name_model] if options.models is None else options.models
    return network_files.stems_of(options.weights_folder, names, network_files.ONNX)


def tell_left_out(summary: Summary) -> int:
    """Name what failed or could not be scored; 1 if anything failed, or nothing has a score."""
    for line in merged_failed(summary):
        print(f"failed: {line}", file=sys.stderr)
    for line in merged_unscored(summary):
        print(f"left out: {line}", file=sys.stderr)
    nothing = not any(summary["scores"].values())
    if nothing:
        print("error: No recording could be scored", file=sys.stderr)
    return 1 if nothing or summary["failed"] else 0
