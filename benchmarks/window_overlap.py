"""What is heard where the windows of a network meet, with and without overlap.

Voices in noise are denoised by the networks that process windows. For each overlap of the windows,
the SI-SDR and the steps of the error where windows without overlap would meet are written into
docs/prediction.md:

    python benchmarks/window_overlap.py --voice_dir VOICES --noise_dir NOISES
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import page_parts
from benchmarks.lookahead import LEVEL, joined
from speech_enhancement import places
from speech_enhancement.config import AudioConfig
from speech_enhancement.files import atomic
from speech_enhancement.inference import blocks
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.scoring import metrics
from speech_enhancement.signal import dsp

PAGE = Path(__file__).resolve().parents[1] / "docs" / "prediction.md"
SNRS_DB = (0.0, 5.0, 10.0, 15.0)


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voice_dir", type=Path, default=places.DEMO_DATA / "voices")
    parser.add_argument("--noise_dir", type=Path, default=places.DEMO_DATA / "noises")
    parser.add_argument("--models", nargs="+", default=["conv1d", "model_unet"])
    parser.add_argument("--overlaps", nargs="+", type=float, default=[0.0, 0.1, 0.25, 0.5])
    parser.add_argument("--seconds", type=float, default=100.0, help="length of a recording, s")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rows = []
    for name in args.models:
        enhancers = [Enhancer.load(name, window_overlap=overlap) for overlap in args.overlaps]
        audio = enhancers[0].card.audio
        rng = np.random.default_rng(args.seed)
        figures = [
            [figures_of(enhancer, voice, noisy) for enhancer in enhancers]
            for voice, noisy in recordings(args, audio.sample_rate, rng)
        ]
        for overlap, (si_sdr, step_db) in zip(args.overlaps, np.mean(figures, axis=0), strict=True):
            rows.append([name, f"{overlap:g}", f"{si_sdr:.2f}", f"{round(step_db, 1) + 0.0:+.1f}"])
            print(*rows[-1], flush=True)
    atomic.write_text(PAGE, page_parts.with_part(PAGE.read_text(), "overlap", table(rows)))


def recordings(
    args: argparse.Namespace, rate: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A clean and a noisy recording for each SNR."""
    pairs = []
    for snr_db in SNRS_DB:
        voice, noise = (
            joined(folder, rate, round(args.seconds * rate), rng)
            for folder in (args.voice_dir, args.noise_dir)
        )
        pairs.append((LEVEL * voice, LEVEL * dsp.mix_at_snr(voice, noise, snr_db, 1.0, 1.0)[0]))
    return pairs


def figures_of(enhancer: Enhancer, clean: np.ndarray, noisy: np.ndarray) -> tuple[float, float]:
    """SI-SDR of a denoised recording, and the steps of its error where windows meet, both dB."""
    audio = enhancer.card.audio
    estimate = enhancer.enhance(noisy, audio.sample_rate)
    si_sdr = metrics.si_sdr(clean, estimate, audio.sample_rate)
    return si_sdr, step_db(estimate - clean, audio)


def step_db(error: np.ndarray, audio: AudioConfig) -> float:
    """Energy of a step of the error at the seams, relative to that of any other step, dB.

    A step is the difference between a sample and the one before it; the seams are where windows
    that do not overlap meet.
    """
    steps = np.square(np.diff(error, prepend=error[:1]))
    seams = np.arange(audio.frame_length - blocks.lead_of(audio), len(error), audio.frame_length)
    return float(10.0 * np.log10(steps[seams].mean() / np.delete(steps, seams).mean()))


def table(rows: Sequence[Sequence[str]]) -> str:
    """The table of the page, a row for each network and overlap."""
    head = [
        ["network", "`--window_overlap`", "SI-SDR (dB)", "step at the seams (dB)"],
        ["---", "--:", "--:", "--:"],
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*head, *rows])


if __name__ == "__main__":
    main()
