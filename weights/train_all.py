"""Train every network of a file of recipes, one after the other, score them, and write their cards.

python -m weights.train_all --seconds 36000 --voice_dir VOICES --noise_dir NOISES

Options that are not listed by --help are those of --mode training, and apply to every network. The
same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speech_enhancement import places
from speech_enhancement.cli import args, command_line, learning_options, process
from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError, UserError, printable
from speech_enhancement.files import audio_io
from speech_enhancement.files.atomic import write_text
from speech_enhancement.inference import network_files
from speech_enhancement.scoring import evaluation, report
from speech_enhancement.scoring.evaluation import PairFolders
from speech_enhancement.scoring.summary import Summary
from weights import make_model_cards

RECIPES = Path(__file__).with_name("recipes.toml")
OUTPUT = places.WORK / "out/train_all"
METRICS = ("pesq_wb", "stoi", "si_sdr")
# What the validation mixtures depend on, of the options of a training.
SOURCES = (
    *("voice_dir", "noise_dir", "voice_dir_validation", "noise_dir_validation", "seed"),
    *("validation_split", "noise_classes", "split_noises_by", "min_duration"),
)
SCORED_AUDIO = AudioConfig(sample_rate=evaluation.WIDE_BAND_RATE, frame_length=64_000)  # 4 s

Run = Callable[[Sequence[str]], int]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Args:
        name: of the network's files.
        share: its part of the time, relative to those of the others.
        options: options of `--mode training` by name.
    """

    name: str
    share: float
    options: Mapping[str, Any]

    def arguments(self, seconds: float, output_dir: Path) -> list[str]:
        """The command line of its training, without `--resume` and `--overwrite`.

        Args:
            seconds: time to train for, s.
            output_dir: see `train_all`.
        """
        given = [word for name, value in self.options.items() for word in _as_given(name, value)]
        folders = ("--weights_folder", output_dir / "weights", "--run_dir", output_dir / "runs")
        return [
            *("--mode", "training", "--name_model", self.name, *given),
            *("--max_seconds", f"{seconds:g}", "--schedule", "cosine", *map(str, folders)),
        ]


def load_recipes(path: Path, names: Sequence[str] | None = None) -> list[Recipe]:
    """The recipes in a file.

    Args:
        path: the file; see `recipes.toml`.
        names: networks to take; by default all of them.

    Raises:
        UserError: it cannot be read, or is not a file of recipes.
        UsageError: it has no network of a name.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    networks, mixings = (_tables(path, content, kind) for kind in ("network", "mixing"))
    for name in names or ():
        if name not in networks:
            raise UsageError(f"`networks` must be of {', '.join(networks)}. Received: {name}")
    chosen = names or list(networks)
    return [_recipe(path, name, networks[name], mixings) for name in chosen]


def _tables(path: Path, content: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The tables `[kind.NAME]` of a file of recipes by name."""
    tables = content.get(kind)
    fits = isinstance(tables, dict) and all(isinstance(it, dict) for it in tables.values())
    if not fits or not tables:
        raise UserError(f"{path} is not a file of recipes: it has no tables [{kind}.NAME]")
    return tables


def _recipe(
    path: Path, name: str, table: dict[str, Any], mixings: dict[str, dict[str, Any]]
) -> Recipe:
    """The recipe of one table of the file."""
    share, mixing = table.get("share"), table.get("mixing")
    if not isinstance(share, int | float) or not share > 0:
        raise UserError(f"{path}: `share` of {name} must be a number above 0. Received: {share}")
    if mixing not in mixings:
        known = ", ".join(mixings)
        raise UserError(f"{path}: `mixing` of {name} must be one of {known}. Received: {mixing}")
    own = {key: value for key, value in table.items() if key not in ("share", "mixing")}
    return Recipe(name, share, mixings[mixing] | own)


def train_all(
    recipes: Sequence[Recipe],
    seconds: float,
    options: Sequence[str],
    output_dir: Path = OUTPUT,
    score_mixtures: int = 48,
    metrics: Sequence[str] = METRICS,
    overwrite: bool = False,
    run: Run | None = None,
) -> Summary:
    """Train the networks that are not trained yet, and score all of them.

    Args:
        recipes: how they are trained.
        seconds: time to train for in all, s, of which each network has its share.
        options: further options of `--mode training`, for all of them.
        output_dir: folder of `weights/`, `runs/`, the validation mixtures and their scores.
        score_mixtures: validation mixtures to score.
        metrics: names in `registry.METRICS`.
        overwrite: also let the networks take the place of those of their names in `weights/`.
        run: runs a training, given its arguments, and returns its exit code; by default in a
            process of its own, so that nothing of it stays in the memory of the accelerator.

    Returns:
        The summary of the scores.

    Raises:
        UserError: a training failed, or a folder cannot be read or written.
        UsageError: an option is not one of training, or has a value that is not allowed.
    """
    total = sum(recipe.share for recipe in recipes)
    commands = {
        recipe.name: [*recipe.arguments(seconds * recipe.share / total, output_dir), *options]
        for recipe in recipes
    }
    # A mistake in the last recipe shall not wait until the others are trained.
    parsed = [args.parse(command) for command in commands.values()]
    pairs = write_pairs(parsed[0], output_dir / "validation_mixtures", score_mixtures)
    summary = score(pairs, [], output_dir, metrics)
    done: list[Path] = []
    for number, (name, command) in enumerate(commands.items(), 1):
        print(f"{name}: network {number} of {len(commands)}", flush=True)
        train(name, command, output_dir, run or _in_own_process)
        done.append(output_dir / "weights" / name)
        summary = score(pairs, done, output_dir, metrics)
        if overwrite:
            replace_shipped(done[-1])
    return summary


def train(name: str, command: list[str], output_dir: Path, run: Run) -> None:
    """Train a network, unless it is there; go on with its training if that was interrupted.

    Raises:
        UserError: the training failed.
    """
    from speech_enhancement.training import run_names

    stem = output_dir / "weights" / name
    network_files.complete(stem)
    if network_files.file_of(stem, network_files.CARD).is_file():
        print(f"{name} is trained already: {stem}.keras", flush=True)
        return
    interrupted = run_names.is_interrupted(output_dir / "runs" / name)
    code = run([*command, "--resume" if interrupted else "--overwrite"])
    if code:
        raise UserError(f"The training of {name} ended with exit code {code}")


def write_pairs(options: argparse.Namespace, folder: Path, count: int) -> PairFolders:
    """Mixtures of the voices and noises that no network is trained with, as pairs of files.

    They are the same in every call with the same recordings, and written once.

    Args:
        options: those of a training with mixtures.
        folder: where `clean/` and `noisy/` come to lie.
        count: number of mixtures.

    Raises:
        UserError: there are no recordings, or the folder cannot be written.
        UsageError: the training is not one with mixtures.
    """
    from speech_enhancement.datasets import dynamic
    from speech_enhancement.mixing.recipe import MixingConfig
    from speech_enhancement.training.data import MixedData

    pairs = PairFolders(folder / "clean", folder / "noisy", name="Validation mixtures")
    data = learning_options.data_of(options)
    if not isinstance(data, MixedData):
        raise UsageError(f"`data` must be dynamic or device. Received: {data.kind}")
    recipe = MixingConfig.plain()
    facts = {name: getattr(options, name) for name in SOURCES}
    about = {"count": count, **facts, **recipe.to_dict()}
    text = json.dumps(about, indent=2, default=str) + "\n"
    description = folder / "mixtures.json"
    if description.is_file():
        if description.read_text() == text:
            return pairs
        shutil.rmtree(folder)
    voices, noises = data.open_sources(SCORED_AUDIO.sample_rate, options.seed)
    _, validation = dynamic.open_mixers(voices, noises, SCORED_AUDIO, recipe, options.seed)
    for number, waveforms in enumerate(zip(*validation.batch(0, 0, count), strict=True)):
        for kind, waveform in zip(("noisy", "clean"), waveforms, strict=True):
            path = folder / kind / f"{number:03d}.wav"
            audio_io.save_audio(path, waveform, SCORED_AUDIO.sample_rate)
    write_text(description, text)
    return pairs


def score(
    pairs: PairFolders, stems: Sequence[Path], output_dir: Path, metrics: Sequence[str]
) -> Summary:
    """Score networks on the validation mixtures, and write the page of each."""
    summary = evaluation.evaluate(
        pairs,
        stems,
        metrics=metrics,
        report_dir=output_dir / "scores",
        worst=0,
        measure_cost=False,
    ).summary
    make_model_cards.write_pages(output_dir / "weights", [summary])
    return summary


def replace_shipped(stem: Path) -> None:
    """Have a network take the place of that of its name in `weights/`."""
    target = places.WEIGHTS / stem.name
    files = [network_files.file_of(stem, suffix) for suffix in network_files.SUFFIXES]
    with network_files.replacing_network(target) as folder:
        for path in filter(Path.is_file, files):
            shutil.copy2(path, folder)
    for path in files:
        if not path.is_file():
            network_files.file_of(target, path.suffix).unlink(missing_ok=True)
    print(f"{target}.keras is replaced; make benchmark scores it and writes its page", flush=True)


def _in_own_process(command: Sequence[str]) -> int:
    """Run the command line in a process of its own, and return its exit code."""
    arguments = [sys.executable, "-m", "speech_enhancement", *command]
    return subprocess.run(arguments, env=places.module_environment(), check=False).returncode


def _as_given(name: str, value: Any) -> list[str]:
    """An option and its value as words of a command line."""
    values = value if isinstance(value, list) else [value]
    return [f"--{name}", *map(str, values)] if values else []


def with_defaults(options: Sequence[str]) -> list[str]:
    """Options for all networks: where nothing else is given, the recordings of `demo_data/`, and
    mixtures of the device where Keras is told to use JAX."""
    defaults = {
        "--data": "device" if os.environ.get("KERAS_BACKEND") == "jax" else "dynamic",
        "--voice_dir": str(places.DEMO_DATA / "voices"),
        "--noise_dir": str(places.DEMO_DATA / "noises"),
    }
    missing = [pair for pair in defaults.items() if pair[0] not in options]
    return [*options, *(word for pair in missing for word in pair)]


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The options of this command, and those of the trainings."""
    parser = argparse.ArgumentParser(
        prog="python -m weights.train_all",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    positive = command_line.number(above=0)
    parser.add_argument(
        "--seconds", type=positive, required=True, metavar="X", help="time to train in all, s"
    )
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="file of recipes")
    parser.add_argument(
        "--networks", nargs="+", metavar="NAME", help="networks to train; by default all of them"
    )
    parser.add_argument("--output_dir", type=Path, default=OUTPUT, help="folder of the results")
    parser.add_argument(
        "--score_mixtures",
        type=command_line.whole(1),
        default=48,
        metavar="N",
        help="validation mixtures to score",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="let each network take the place of that of its name in weights/",
    )
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print the scores, and return the exit code of the process."""
    options, rest = parse(argv)
    try:
        summary = train_all(
            load_recipes(options.recipes, options.networks),
            options.seconds,
            with_defaults(rest),
            options.output_dir,
            options.score_mixtures,
            overwrite=options.overwrite,
        )
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: stopped by the user; the same command goes on", file=sys.stderr)
        return 130
    print(report.console_table(summary))
    print(f"Wrote {options.output_dir / 'weights'} and {options.output_dir / 'scores/report.md'}")
    return 0


if __name__ == "__main__":
    with process.answering_stops():
        code = main()
    sys.exit(code)
