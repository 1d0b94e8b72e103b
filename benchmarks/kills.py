"""Kills predictions, trainings, searches and exports at random and at named moments.

Each is started, killed with SIGKILL, started again as the documentation says, and compared with
one that nothing disturbed: recordings byte for byte, network, log, table of trials, exported files.
Nothing unfinished may be left.

    python benchmarks/kills.py --kills 20      # half an hour on two cores

writes benchmarks/KILLS.json and benchmarks/KILLS.md.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Before the processes are forked, so that each of them starts in a moment.
import h5py
import keras_tuner  # noqa: F401
import numpy as np

from speech_enhancement.cli import main
from speech_enhancement.files import atomic, provenance
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.training import backups

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "net"
TIME_LIMIT_S = 300.0
POLL_S = 0.0005
DEMO = REPOSITORY / "demo_data"
SMALL = ("--model", "dncnn", "--hyperparameter", "filters=16", "depth=3")
LEFT = (f"{atomic.PARTIAL}*", ".*.ready", "*.partial")


@dataclasses.dataclass(frozen=True)
class Case:
    """A command that is killed, and how its result is compared.

    Args:
        name: the kind of command, which names the row of the table.
        command: gives the command's arguments for a folder of its own.
        result: gives what an undisturbed run and a continued one must have in common.
        resumes: tells whether the folder holds something to go on with.
        finished: tells whether the folder holds the result already.
        resume: options with which the command goes on.
        again: options with which it begins anew where there is nothing to resume.
        places: names of moments, and the patterns of the files whose appearance marks them.
        after: pattern of a file; the random moments come after its appearance.
    """

    name: str
    command: Callable[[Path], list[Any]]
    result: Callable[[Path], Any]
    resumes: Callable[[Path], bool]
    finished: Callable[[Path], bool]
    resume: tuple[str, ...] = ("--resume",)
    again: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    after: str = ""


def main_() -> None:
    """Kill, go on, compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind; the figures of the others are kept")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks")
    options = parser.parse_args()
    figures = options.out / "KILLS.json"
    rows = []
    if options.only and figures.is_file():
        rows = [
            row for row in json.loads(figures.read_text())["rows"] if row["what"] != options.only
        ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for case in cases(folder):
            if options.only in (None, case.name):
                rows.append(row_of(case, folder, options.kills, random.Random(options.seed)))
                print(json.dumps(rows[-1]), flush=True)
    facts = provenance.circumstances(("keras", "tensorflow"))
    content = {"circumstances": facts, "seed": options.seed, "rows": rows}
    atomic.write_text(figures, json.dumps(content, indent=2) + "\n")
    atomic.write_text(options.out / "KILLS.md", markdown(rows, facts))


def prepare(folder: Path) -> None:
    """Make windows to learn from, and a network to export."""
    run(
        [
            *("--mode", "data_creation", "--nb_samples", "60", "--workers", "1"),
            *("--voice_dir", DEMO / "voices", "--noise_dir", DEMO / "noises"),
            *("--path_save_spectrogram", folder / "windows", "--cache_dir", folder / "cache"),
            *("--path_save_time_serie", folder / "time_serie"),
            *("--path_save_sound", folder / "sound"),
        ]
    )
    run(
        [
            *("--mode", "training", *SMALL, "--epochs", "1", "--name_model", NAME),
            *("--path_save_spectrogram", folder / "windows", "--batch_size", "6"),
            *("--weights_folder", folder / "weights", "--run_dir", folder / "runs"),
        ]
    )


def cases(common: Path) -> list[Case]:
    """Everything that is killed."""
    stored = ("--path_save_spectrogram", common / "windows", "--batch_size", "6")
    dynamic = (
        *("--data", "dynamic", "--batch_size", "4", "--steps_per_epoch", "10"),
        *("--voice_dir", DEMO / "voices", "--noise_dir", DEMO / "noises"),
        *("--validation_mixtures", "8", "--cache_dir", common / "cache"),
    )

    def training(*data: Any) -> Callable[[Path], list[Any]]:
        return lambda folder: [
            *("--mode", "training", *SMALL, "dropout=0.25", *data, "--name_model", NAME),
            *("--weights_folder", folder / "weights", "--run_dir", folder / "runs"),
        ]

    shared: dict[str, Any] = {
        "result": trained,
        "resumes": lambda folder: backups.newest(folder / "runs" / NAME) is not None,
        "finished": lambda folder: (folder / "weights" / f"{NAME}.json").is_file(),
        "again": ("--overwrite",),
    }
    places = (
        ("first backup begun", f"runs/{NAME}/backup/{atomic.PARTIAL}*"),
        ("first backup made", f"runs/{NAME}/backup/000000"),
        ("second backup made", f"runs/{NAME}/backup/000001"),
        ("best network begun", f"runs/{NAME}/{atomic.PARTIAL}*.keras"),
        ("best network kept", f"runs/{NAME}/best.keras"),
    )
    saving = (
        ("saving begun", f"weights/{atomic.PARTIAL}*/"),
        ("network written", f"weights/{atomic.PARTIAL}*/{NAME}.keras"),
        ("twin written", f"weights/{atomic.PARTIAL}*/{NAME}.onnx"),
        ("card written", f"weights/{atomic.PARTIAL}*/{NAME}.json"),
        ("files ready", f"weights/.{NAME}.ready"),
        ("first file moved", f"weights/{NAME}.*"),
    )
    return [
        prediction(),
        Case("training, stored", training(*stored, "--epochs", "3"), places=places, **shared),
        Case("training, dynamic", training(*dynamic, "--epochs", "3"), places=places, **shared),
        Case(
            "saving",
            training(*stored, "--epochs", "1"),
            places=saving,
            after=f"weights/{atomic.PARTIAL}*/",
            **shared,
        ),
        Case(
            "tuning",
            lambda folder: [
                *("--mode", "tuning", *SMALL, "loss=mse", *stored, "--epochs", "2"),
                *("--tuner", "random", "--max_trials", "3", "--dir_tuning", folder),
            ],
            searched,
            lambda folder: (folder / "dncnn/search.json").is_file(),
            lambda folder: (folder / "dncnn/best_hyperparameters.json").is_file(),
            places=(
                ("search described", "dncnn/search.json"),
                ("first trial drawn", "dncnn/trial_0/trial.json"),
                ("state begun", f"dncnn/{atomic.PARTIAL}*"),
                ("second trial drawn", "dncnn/trial_1/trial.json"),
                ("table written", "dncnn/trials.csv"),
            ),
        ),
        Case(
            "export",
            lambda folder: [
                *("--mode", "export", "--weights_folder", common / "weights"),
                *("--name_model", NAME, "--export_dir", folder / "export"),
            ],
            exported,
            lambda folder: False,
            lambda folder: False,
            places=(
                ("export begun", f"export/{atomic.PARTIAL}*"),
                ("first format kept", f"export/{NAME}*"),
                ("card written", f"export/{NAME}.json"),
            ),
        ),
    ]


def prediction() -> Case:
    """The demonstration recordings, whose results know by themselves how far they are."""
    return Case(
        "prediction",
        lambda folder: [DEMO / "noisy", "--dir_save_prediction", folder, "--save_noise"],
        denoised,
        lambda folder: (folder / "denoised.jsonl").is_file(),
        lambda folder: False,
        resume=(),
        places=(
            ("first recording begun", f"{atomic.PARTIAL}*"),
            ("first recording kept", "*.wav"),
            ("summary kept", "summary.json"),
        ),
    )


def denoised(folder: Path) -> Any:
    """Digests of all recordings and of what was removed from them."""
    return {path.name: file_sha256(path) for path in folder.glob("*.wav")}


def trained(folder: Path) -> Any:
    """Weights of a network, its card without what differs from day to day, and the log."""
    card = dataclasses.asdict(ModelCard.load(folder / "weights" / f"{NAME}.json"))
    card["sha256"] = sorted(card["sha256"])
    card["training"].pop("date")
    weights = weights_in(folder / "weights" / f"{NAME}.keras")
    return {"card": card, "weights": weights, "log": table(folder / "runs" / NAME / "log.csv")}


def weights_in(path: Path) -> dict[str, list[float]]:
    """Weights in a `.keras` file, by name; read without TensorFlow, which must not run here.

    A process that is forked from one in which it runs waits for ever.
    """
    found: dict[str, list[float]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.ravel(item[()]).tolist()

    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as weights,
    ):
        weights.visititems(note)
    return found


def searched(folder: Path) -> Any:
    """The table of a search."""
    return table(folder / "dncnn/trials.csv")


def exported(folder: Path) -> Any:
    """Names of exported files, and the sound of them as the report compares it with Keras."""
    export = folder / "export"
    report = json.loads((export / "export.json").read_text())
    rows = report["rows"] if isinstance(report, dict) else report
    facts = ("network", "format", "file", "si_sdr_db", "max_abs", "reason")
    return {
        "files": sorted(str(p.relative_to(export)) for p in export.rglob("*") if p.is_file()),
        "rows": [{name: row.get(name) for name in facts} for row in rows],
    }


def table(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV file, numbers as such."""

    def value(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    with path.open(newline="") as file:
        return [{k: value(v) for k, v in row.items()} for row in csv.DictReader(file)]


def row_of(case: Case, common: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill one kind of process often, and count how it went."""
    whole = common / "whole"
    begin = time.monotonic()
    run(case.command(whole))
    seconds = time.monotonic() - begin
    expected = case.result(whole)
    shutil.rmtree(whole)
    counts = {"kills": 0, "resumed": 0, "begun anew": 0, "finished": 0, "equal": 0, "left": 0}
    places: dict[str, int] = {}
    wrong: list[dict[str, Any]] = []
    tries = 0
    while counts["kills"] < kills and tries < 3 * kills:
        place = case.places[tries // 2 % len(case.places)] if tries % 2 else ("random", case.after)
        tries += 1
        folder = common / f"killed_{tries}"
        delay = rng.uniform(0.0, seconds * (0.5 if case.after else 1.0)) * (place[0] == "random")
        if not killed(case.command(folder), folder, place[1], delay):
            shutil.rmtree(folder, ignore_errors=True)
            continue
        counts["kills"] += 1
        places[place[0]] = places.get(place[0], 0) + 1
        time.sleep(1.1 * atomic.UNTOUCHED_S)
        counts[go_on(case, folder)] += 1
        equal = same(case.result(folder), expected)
        counts["equal"] += equal
        left = [str(path) for pattern in LEFT for path in folder.rglob(pattern)]
        counts["left"] += len(left)
        if left or not equal:
            wrong.append({"place": place[0], "delay_s": delay, "left": left})
        shutil.rmtree(folder)
    return {"what": case.name, "seconds": round(seconds, 1), **counts, "places": places} | (
        {"wrong": wrong} if wrong else {}
    )


def go_on(case: Case, folder: Path) -> str:
    """Do what a user would do after a kill; in a word, what that was."""
    if case.resumes(folder):
        run([*case.command(folder), *case.resume])
        return "resumed"
    if case.finished(folder):
        # The next training, whatever its name, clears what is left.
        os.waitpid(start(case.command(folder)), 0)
        return "finished"
    run([*case.command(folder), *case.again])
    return "begun anew"


def same(result: Any, expected: Any) -> bool:
    """Whether two results agree, numbers to seven digits."""
    if isinstance(expected, dict):
        return result.keys() == expected.keys() and all(
            same(result[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(result) == len(expected) and all(map(same, result, expected))
    if isinstance(expected, float):
        return bool(np.isclose(result, expected, rtol=1e-6, atol=1e-9, equal_nan=True))
    return bool(result == expected)


def killed(command: list[Any], folder: Path, pattern: str, delay: float) -> bool:
    """Kill a process some time after a file has come; false if it ended before."""
    process = start(command)
    limit = time.monotonic() + TIME_LIMIT_S
    while pattern and not any(folder.glob(pattern)):
        if ended(process) or time.monotonic() > limit:
            return False
        time.sleep(POLL_S)
    time.sleep(delay)
    if ended(process):
        return False
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return True


def run(command: list[Any]) -> None:
    """Run the command line to its end.

    Raises:
        RuntimeError: it failed.
    """
    process = start(command)
    status = os.waitpid(process, 0)[1]
    if status:
        raise RuntimeError(f"{status}: {' '.join(map(str, command))}")


def start(command: list[Any]) -> int:
    """Run the command line in a process that is forked from this one."""
    process = os.fork()
    if process:
        return process
    with Path(os.devnull).open("w") as quiet:
        os.dup2(quiet.fileno(), sys.stdout.fileno())
        if "KILLS_VERBOSE" not in os.environ:
            os.dup2(quiet.fileno(), sys.stderr.fileno())
    code = 1
    try:
        code = main.main([str(argument) for argument in command])
    finally:
        os._exit(code)


def ended(process: int) -> bool:
    """Whether a process has ended."""
    return os.waitpid(process, os.WNOHANG)[0] != 0


def markdown(rows: list[dict[str, Any]], facts: Any) -> str:
    """The table as a page."""
    names = ("what", "kills", "resumed", "begun anew", "finished", "equal", "left")
    lines = [
        "# Kills",
        "",
        "Commands were killed with SIGKILL at random and at named moments, and started again as",
        "the documentation says. The table counts how many of them resumed or began anew, how many",
        "gave the result of an undisturbed run (recordings byte for byte; network, card, log,",
        "trials and exported files), and how many unfinished files were left.",
        "`python benchmarks/kills.py` writes this page.",
        "",
        f"| {' | '.join(names)} |",
        f"|---|{'--:|' * (len(names) - 1)}",
        *(f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows),
        "",
        *(
            f"- {row['what']}: " + ", ".join(f"{n} {k}" for k, n in row["places"].items())
            for row in rows
        ),
        "",
        f"({facts['machine']}, {facts['date']})",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main_()
