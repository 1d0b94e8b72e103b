"""The loss of the U-Net as its author states it, on mixtures like his: docs/unet.md.

His project mixes voices with 20 to 80 % of ten classes of noise, takes decibels re the maximum of
each window, and states a Huber loss of 0.002406 for the validation. Here networks are compared in
these decibels and in those of this project, which are re full scale, on the windows of a data set:

    python main.py --mode data_creation --voice_dir VOICES --noise_dir NOISES --noise_level 0.2 0.8
    python benchmarks/reference_loss.py --networks model_unet out/unet/model_unet

The windows of the split `train` have noises that the author's recipe was trained with, those of
`validation` have not. Without --windows, the page is written anew from the figures.
"""

from __future__ import annotations

import argparse
import collections
import csv
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.page_parts import with_part
from speech_enhancement.config import AudioConfig
from speech_enhancement.files import atomic, provenance
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.scoring import metrics
from speech_enhancement.scoring.report import table
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Features

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "unet.md"
PACKAGES = ("numpy", "onnxruntime", "pesq")
SPLITS = ("train", "validation")
HIS_RANGE_DB = 80.0  # what librosa.amplitude_to_db keeps below the maximum
SCALE_DB = Features.noise_scale_db
ADDED_DB = (0.0, 1.0, 6.0, 20.0, np.inf)  # by which noise raises a bin
COLUMNS = {
    "full_scale": "loss, dB re full scale",
    "window": "loss, dB re the window's maximum",
    "pesq_nb": "PESQ-nb",
    "si_sdr": "SI-SDR (dB)",
}

Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Measure, and write the figures and their page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=Path, help="folder of the windows' spectrograms")
    parser.add_argument("--waveforms", type=Path, help="folder of their waveforms")
    parser.add_argument("--networks", nargs="+", default=["model_unet"])
    parser.add_argument("--count", type=int, default=512, help="windows of each split")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.windows:
        about = provenance.circumstances(PACKAGES) | {"windows": args.count}
        del about["command"]  # the page has it
        results = measured(args) | {"about": about}
        atomic.write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    page = with_part(PAGE.read_text(), "losses", losses_table(results))
    page = with_part(page, "parts", parts_tables(results))
    atomic.write_text(PAGE, page)


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """The figures of every estimate in every split, and where the losses of the last one lie."""
    manifest = json.loads((args.windows / "manifest.json").read_text())
    audio = AudioConfig(**manifest["audio"])
    classes = noise_classes(args.windows)
    rng = np.random.default_rng(args.seed)
    results: dict[str, Any] = {"splits": {}}
    for split in SPLITS:
        chosen = np.sort(rng.choice(np.arange(*manifest["split"][split]), args.count, False))
        noisy, clean = (
            np.load(args.waveforms / f"{name}_timeserie.npy", mmap_mode="r")[chosen]
            for name in ("noisy_voice", "voice")
        )
        estimates = {
            "noisy": lambda noisy, clean: noisy,
            **{Path(name).name: network_of(name, audio) for name in args.networks},
            "clean magnitudes": lambda noisy, clean: noisy / np.abs(noisy) * np.abs(clean),
        }
        of_split = results["splits"].setdefault(split, {})
        for name, estimate in estimates.items():
            print(split, name, flush=True)
            spectra = [dsp.stft(each, audio) + dsp.TINY for each in (noisy, clean)]
            spectra.append(estimate(*spectra))
            of_split[name] = figures(spectra, clean, audio)
            if split == "validation" and Path(args.networks[-1]).name == name:
                results["by_class"] = by_class(spectra, classes[chosen])
                results["by_added"] = by_added(spectra)
    return results


def network_of(name: str, audio: AudioConfig) -> Estimate:
    """The clean spectrogram that a network estimates, without the levelling of `Enhancer`."""
    enhancer = Enhancer.load(name)
    features = enhancer.card.features

    def estimate(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
        batches = np.array_split(noisy, max(1, len(noisy) // 32))
        outputs = [enhancer.network(features.encode(batch)) for batch in batches]
        return features.estimate(noisy, np.concatenate(outputs), max_gain=1.0)

    return estimate


def figures(spectra: list[np.ndarray], clean: np.ndarray, audio: AudioConfig) -> dict[str, float]:
    """Both losses and the scores of an estimate; see `COLUMNS`."""
    _, target, estimate = decibels(spectra)
    sounds = dsp.istft(spectra[2], audio, clean.shape[-1])
    scores: dict[str, list[float]] = {"pesq_nb": [], "si_sdr": []}
    for voice, sound in zip(clean, sounds, strict=True):
        for name, values in scores.items():
            try:
                values.append(float(getattr(metrics, name)(voice, sound, audio.sample_rate)))
            except ValueError:  # no voice in this window
                values.append(np.nan)
    return {
        "full_scale": float(np.mean(huber(estimate - target))),
        "window": float(np.mean(huber(re_maximum(estimate) - re_maximum(target)))),
        **{name: float(np.nanmean(values)) for name, values in scores.items()},
    }


def by_class(spectra: list[np.ndarray], classes: np.ndarray) -> dict[str, list[float]]:
    """Share of the windows and loss of each class of noise."""
    _, target, estimate = decibels(spectra)
    losses = np.mean(huber(re_maximum(estimate) - re_maximum(target)), axis=(-2, -1))
    found = {}
    for name in sorted(set(classes)):
        own = classes == name
        found[str(name)] = [float(np.mean(own)), float(np.mean(losses[own]))]
    return found


def by_added(spectra: list[np.ndarray]) -> list[list[float]]:
    """Share of bins, of the loss, and mean error in dB, by how much noise raises a bin."""
    noisy, target, estimate = decibels(spectra)
    losses = huber(estimate - target)
    parts = []
    for low, high in itertools.pairwise(ADDED_DB):
        own = (noisy - target >= low) & (noisy - target < high)
        error = (estimate - target)[own]
        parts.append([own.mean(), losses[own].sum() / losses.sum(), error.mean()])
    return [list(map(float, part)) for part in parts]


def decibels(spectra: list[np.ndarray]) -> list[np.ndarray]:
    """Magnitudes in dB re full scale, with this project's floor."""
    return [dsp.spectrogram_to_db(spectrum, Features.floor_db) for spectrum in spectra]


def re_maximum(level_db: np.ndarray) -> np.ndarray:
    """Decibels re the maximum of each window, as the author's project takes them."""
    relative = level_db - level_db.max(axis=(-2, -1), keepdims=True)
    return np.maximum(relative, -HIS_RANGE_DB)


def huber(error_db: np.ndarray) -> np.ndarray:
    """The Huber loss of each bin, in the author's units of 82 dB."""
    error = np.abs(error_db) / SCALE_DB
    return np.where(error < 1.0, 0.5 * np.square(error), error - 0.5)


def noise_classes(folder: Path) -> np.ndarray:
    """The class of the noise in each window."""
    names: dict[int, str] = collections.defaultdict(str)
    with (folder / "sources.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "noise":
                names[int(row["number"])] = row["group"].split("/")[0]
    return np.array([names[number] for number in np.load(folder / "windows.npy")["noise"]])


def losses_table(results: dict[str, Any]) -> str:
    """A row for each estimate, for noises that were and were not trained with."""
    rows = [
        [name, split, *(_cell(key, values[key]) for key in COLUMNS)]
        for split, estimates in results["splits"].items()
        for name, values in estimates.items()
    ]
    facts = results["about"]
    text = f"({facts['windows']} windows of each split; {facts['machine']}, {facts['date']})"
    return f"{table(['estimate', 'split', *COLUMNS.values()], rows)}\n\n{text}"


def parts_tables(results: dict[str, Any]) -> str:
    """Where the loss comes from: classes of noise, and bins by what noise adds to them."""
    classes = [
        [name, f"{100 * share:.0f} %", f"{loss:.4f}"]
        for name, (share, loss) in results["by_class"].items()
    ]
    bins = [
        [_range(index), f"{100 * share:.0f} %", f"{100 * part:.0f} %", f"{error:+.1f}"]
        for index, (share, part, error) in enumerate(results["by_added"])
    ]
    return "\n\n".join(
        [
            table(["noise", "share of windows", COLUMNS["window"]], classes),
            table(
                ["noise raises the bin by", "share of bins", "part of the loss", "mean error (dB)"],
                bins,
            ),
        ]
    )


def _range(index: int) -> str:
    """A range of `ADDED_DB` in words."""
    low, high = ADDED_DB[index : index + 2]
    return f"{low:g} to {high:g} dB" if np.isfinite(high) else f"more than {low:g} dB"


def _cell(key: str, value: float) -> str:
    """A figure with the digits of its column."""
    return f"{value:.5f}" if key in ("full_scale", "window") else f"{value:.2f}"


if __name__ == "__main__":
    main()
