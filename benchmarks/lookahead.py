"""What a long recording loses because it is processed in parts.

Voices in noise, 100 s at each SNR, are denoised in one pass and in parts by the network for
recordings. The SI-SDR between the two is written into docs/speed.md:

    python benchmarks/lookahead.py --voice_dir VOICES --noise_dir NOISES --parts 10,5 8,8
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import page_parts
from speech_enhancement import places, registry
from speech_enhancement.files import atomic, audio_io
from speech_enhancement.inference import enhancer as enhancers
from speech_enhancement.scoring import metrics
from speech_enhancement.signal import dsp

PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
SNRS_DB = (0.0, 5.0, 10.0, 15.0)
LEVEL = 0.05  # RMS of the voices
ONE_PASS_S = 1e6


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voice_dir", type=Path, default=places.DEMO_DATA / "voices")
    parser.add_argument("--noise_dir", type=Path, default=places.DEMO_DATA / "noises")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=[f"{enhancers.RUN_S:g},{enhancers.LOOKAHEAD_S:g}"],
        help="seconds of a part, and seconds that the network is given beyond it",
    )
    parser.add_argument("--seconds", type=float, default=100.0, help="length of a recording, s")
    parser.add_argument("--repeats", type=int, default=2, help="recordings of each SNR")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    parts = [tuple(float(number) for number in pair.split(",")) for pair in args.parts]
    enhancer = enhancers.Enhancer.load(registry.DEFAULT_NETWORK)
    rate = enhancer.card.audio.sample_rate
    rng = np.random.default_rng(args.seed)
    rows = []
    for snr_db in SNRS_DB:
        scores = []
        for _ in range(args.repeats):
            voice, noise = (
                joined(folder, rate, round(args.seconds * rate), rng)
                for folder in (args.voice_dir, args.noise_dir)
            )
            noisy = LEVEL * dsp.mix_at_snr(voice, noise, snr_db, 1.0, 1.0)[0]
            whole = in_parts(enhancer, noisy, ONE_PASS_S, 0.0)
            results = [in_parts(enhancer, noisy, *lengths) for lengths in parts]
            scores.append([metrics.si_sdr(whole, result, rate) for result in results])
            print(
                f"SNR {snr_db:g} dB:", " ".join(f"{score:.1f}" for score in scores[-1]), flush=True
            )
        rows.append((snr_db, *np.mean(scores, axis=0)))
    text = page_parts.with_part(PAGE.read_text(), "lookahead", table(parts, rows))
    atomic.write_text(PAGE, text)


def joined(folder: Path, rate: int, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Recordings of a folder, one after the other at the same level, float (n_samples,)."""
    paths = audio_io.find_audio_files(folder)
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < n_samples:
        samples, _ = audio_io.load_audio(paths[rng.integers(len(paths))], rate)
        pieces.append(samples / max(float(dsp.active_rms(samples, rate)), dsp.TINY))
    return np.concatenate(pieces)[:n_samples].astype(np.float32)


def in_parts(
    enhancer: enhancers.Enhancer, noisy: np.ndarray, run_s: float, lookahead_s: float
) -> np.ndarray:
    """A recording denoised in parts of a length."""
    with mock.patch.multiple(enhancers, RUN_S=run_s, LOOKAHEAD_S=lookahead_s):
        return enhancer.enhance(noisy, enhancer.card.audio.sample_rate)


def table(parts: Sequence[tuple[float, ...]], rows: Sequence[tuple[float, ...]]) -> str:
    """The table of the page, a row for each SNR."""
    names = [f"{run_s:g} s + {lookahead_s:g} s" for run_s, lookahead_s in parts]
    lines = [["SNR (dB)", *names], ["--:"] * (len(parts) + 1)]
    lines += [[f"{snr_db:g}", *(f"{score:.1f}" for score in scores)] for snr_db, *scores in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
