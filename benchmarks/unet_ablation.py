"""What blurs the harmonics of the U-Net's voices: its loss, its windows or its size.

The U-Net is trained by the recipe of `model_unet` for a short time, once as it is and once with
each change of `CHANGES`, with the same number of steps and hours of audio. All are scored on the
same mixtures, and docs/unet.md has the table:

    python benchmarks/unet_ablation.py --voice_dir VOICES --noise_dir NOISES \
        --voice_dir_validation VOICES --noise_dir_validation NOISES

The same command goes on after an interruption. Without folders, the page is written anew from the
figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.lookahead import LEVEL, joined
from benchmarks.page_parts import with_part
from benchmarks.reference_loss import by_added
from speech_enhancement import places
from speech_enhancement.files import atomic, provenance
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.scoring import metrics
from speech_enhancement.scoring.report import table
from speech_enhancement.signal import dsp
from weights import train_all

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_suffix(".json")
PAGE = REPOSITORY / "docs" / "unet.md"
PACKAGES = ("keras", "tensorflow", "numpy", "onnxruntime", "pesq")
FOLDERS = ("voice_dir", "noise_dir", "voice_dir_validation", "noise_dir_validation")
STEPS_PER_EPOCH = 250
WINDOWS_PER_STEP = 16
# What is changed, as options of the training. Windows of twice the length are half as many.
CHANGES: dict[str, dict[str, list[str]]] = {
    "none": {},
    "loss: absolute errors in dB": {"loss": ["mae"]},
    "loss: magnitudes to the power of 0.3": {
        "representation": ["magnitude"],
        "exponent": ["0.3"],
        "target": ["clean"],
    },
    "windows: 2 s": {"frame_length": ["16128"], "batch_size": ["8"]},
    "size: half the filters": {"hyperparameter": ["dropout=0", "base_filters=8"]},
    # With the learning rate of the recipe, this one's output goes to where it saturates.
    "size: twice the filters, half the learning rate": {
        "hyperparameter": ["dropout=0", "base_filters=32"],
        "learning_rate": ["5e-4"],
    },
}
SNRS_DB = (0.0, 5.0, 10.0, 15.0)
SECONDS = 6.0
COLUMNS = {
    "pesq_nb": "PESQ-nb",
    "stoi": "STOI",
    "si_sdr": "SI-SDR (dB)",
    "clear_db": "error where noise adds less than 1 dB (dB)",
    "buried_db": "error where it adds more than 20 dB (dB)",
}


def main() -> None:
    """Train, measure, and write the figures and their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in FOLDERS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--cache_dir", type=Path, default=places.WORK / "data/cache")
    parser.add_argument("--output_dir", type=Path, default=places.WORK / "out/unet_ablation")
    parser.add_argument("--epochs", type=int, default=5, help=f"of {STEPS_PER_EPOCH} steps")
    parser.add_argument("--count", type=int, default=96, help="mixtures to score")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if all(getattr(args, name) for name in FOLDERS):
        atomic.write_text(RESULTS, json.dumps(measured(args), indent=1) + "\n")
    elif any(getattr(args, name) for name in FOLDERS):
        parser.error(f"all of --{', --'.join(FOLDERS)} are needed")
    results = json.loads(RESULTS.read_text())
    atomic.write_text(PAGE, with_part(PAGE.read_text(), "ablation", ablation_table(results)))


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """The figures of the noisy recordings and of every network, by what was changed."""
    for number, change in enumerate(CHANGES):
        train(f"unet_{number}", CHANGES[change], args)
    enhancers = {
        change: Enhancer.load(args.output_dir / "weights" / f"unet_{number}")
        for number, change in enumerate(CHANGES)
    }
    audio = enhancers["none"].card.audio
    pairs = mixtures(args, audio.sample_rate)
    about = provenance.circumstances(PACKAGES) | {"mixtures": args.count}
    about["hours"] = enhancers["none"].card.training["hours_heard"]
    del about["command"]  # the script has it
    rows = {"noisy": figures([(clean, noisy, noisy) for clean, noisy in pairs], enhancers["none"])}
    for change, enhancer in enhancers.items():
        print(change, flush=True)
        denoised = [
            (clean, noisy, enhancer.enhance(noisy, audio.sample_rate)) for clean, noisy in pairs
        ]
        rows[change] = figures(denoised, enhancers["none"])
    return {"rows": rows, "about": about}


def train(name: str, change: dict[str, list[str]], args: argparse.Namespace) -> None:
    """Train a network unless that was done, or go on."""
    weights, runs = args.output_dir / "weights", args.output_dir / "runs"
    if (weights / f"{name}.json").is_file():
        return
    (recipe,) = train_all.load_recipes(train_all.RECIPES, ["model_unet"])
    options: dict[str, Any] = {
        **recipe.options,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "batch_size": WINDOWS_PER_STEP,
        **change,
        **{folder: getattr(args, folder) for folder in FOLDERS},
    }
    words = [word for option, value in options.items() for word in given(option, value)]
    resumed = ["--resume"] if any((runs / name).glob("backup*")) else ["--overwrite"]
    subprocess.run(
        [
            *(sys.executable, "main.py", "--mode", "training", "--name_model", name, *words),
            *("--data", "dynamic", "--schedule", "cosine", "--mixed_precision", *resumed),
            *("--epochs", str(args.epochs), "--seed", str(args.seed)),
            *("--cache_dir", args.cache_dir, "--weights_folder", weights, "--run_dir", runs),
        ],
        cwd=REPOSITORY,
        check=True,
    )


def given(option: str, value: Any) -> list[str]:
    """An option and its value, or values, as words of a command line."""
    return [f"--{option}", *map(str, value if isinstance(value, list) else [value])]


def mixtures(args: argparse.Namespace, rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clean and noisy recordings of voices and noises that no network was trained with."""
    rng = np.random.default_rng(args.seed)
    pairs = []
    for snr_db in itertools.islice(itertools.cycle(SNRS_DB), args.count):
        voice, noise = (
            joined(folder, rate, round(SECONDS * rate), rng)
            for folder in (args.voice_dir_validation, args.noise_dir_validation)
        )
        pairs.append((LEVEL * voice, LEVEL * dsp.mix_at_snr(voice, noise, snr_db, 1.0, 1.0)[0]))
    return pairs


def figures(
    sounds: list[tuple[np.ndarray, np.ndarray, np.ndarray]], enhancer: Enhancer
) -> dict[str, float]:
    """Mean figures of clean, noisy and denoised recordings; see `COLUMNS`."""
    audio = enhancer.card.audio
    scores = {
        name: np.mean(
            [getattr(metrics, name)(clean, sound, audio.sample_rate) for clean, _, sound in sounds]
        )
        for name in ("pesq_nb", "stoi", "si_sdr")
    }
    clean, noisy, sound = (dsp.stft(np.stack(each), audio) for each in zip(*sounds, strict=True))
    by_noise = by_added([noisy, clean, sound])
    scores |= {"clear_db": by_noise[0][-1], "buried_db": by_noise[-1][-1]}
    return {name: float(value) for name, value in scores.items()}


def ablation_table(results: dict[str, Any]) -> str:
    """A row for the noisy recordings and for each network."""
    rows = [
        [change, *(cell(name, values[name]) for name in COLUMNS)]
        for change, values in results["rows"].items()
    ]
    facts = results["about"]
    text = (
        f"({facts['mixtures']} mixtures of {SECONDS:g} s at {min(SNRS_DB):g} to {max(SNRS_DB):g} "
        f"dB, after {facts['hours']:g} h of audio; {facts['machine']}, {facts['date']})"
    )
    return f"{table(['change', *COLUMNS.values()], rows)}\n\n{text}"


def cell(name: str, value: float) -> str:
    """A figure with the digits of its column."""
    return (
        f"{value:.3f}" if name == "stoi" else f"{value:+.1f}" if "_db" in name else f"{value:.2f}"
    )


if __name__ == "__main__":
    main()
