"""How the networks cope with quiet, narrow-band and clean recordings: docs/conditions.md.

Voices are mixed with noises, or with white noise, and denoised at several levels and rates. The
figures go to benchmarks/conditions.json, and a picture and tables of them to docs/conditions.md:

    python benchmarks/conditions.py --voice_dir VOICES --noise_dir NOISES
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.lookahead import joined
from benchmarks.page_parts import with_part
from speech_enhancement import places
from speech_enhancement.files import atomic, provenance
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.inference.pictures import save_figure
from speech_enhancement.scoring import metrics
from speech_enhancement.scoring.report import table
from speech_enhancement.signal import dsp

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "conditions.md"
PICTURE = PAGE.with_suffix(".png")
NETWORKS = ("dpcrn_offline", "dpcrn")
PACKAGES = ("numpy", "scipy", "onnxruntime", "pesq")
RATE = 16_000
SECONDS = 8.0
MIXTURE_SNR_DB = 5.0
PEAKS_DBFS = (-60, -50, -40, -30, -20, -10, -3, 0)
NARROW_RATES = (8_000, 11_025)
NARROW_SNR_DB = 20.0
NARROW_SECONDS = 40.0
BANDS = 20  # between 0 and half of the rate


def main() -> None:
    """Measure, and write the figures, their picture and their page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voice_dir", type=Path, default=places.DEMO_DATA / "voices")
    parser.add_argument("--noise_dir", type=Path, default=places.DEMO_DATA / "noises")
    parser.add_argument("--mixtures", type=int, default=12, help="of 8 s, at each level")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    voices, noises = (
        [joined(folder, RATE, round(SECONDS * RATE), rng) for _ in range(args.mixtures)]
        for folder in (args.voice_dir, args.noise_dir)
    )
    narrow = {
        rate: joined(args.voice_dir, rate, round(NARROW_SECONDS * rate), rng)
        for rate in NARROW_RATES
    }
    figures = {}
    for name in NETWORKS:
        enhancer = Enhancer.load(name)
        figures[name] = {
            "level": level_curve(enhancer, voices, noises),
            "band_edge": {rate: band_edge(enhancer, narrow[rate], rate, rng) for rate in narrow},
            "clean": kept_of_clean(enhancer, voices),
            "phase": worth_of_phase(enhancer, voices, noises),
        }
        print(name, json.dumps(figures[name]), flush=True)
    about = provenance.circumstances(PACKAGES)
    del about["command"]  # the page has it
    results = {"about": about, "figures": figures}
    results["about"]["mixtures"] = args.mixtures
    atomic.write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    publish(json.loads(RESULTS.read_text()))


def mixed(voice: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A voice and a noise, each at an active level of 1, at the SNR of all mixtures."""
    return dsp.mix_at_snr(voice, noise, MIXTURE_SNR_DB, 1.0, 1.0)[0]


def level_curve(
    enhancer: Enhancer, voices: list[np.ndarray], noises: list[np.ndarray]
) -> list[float]:
    """Mean PESQ-wb of mixtures with each of the peaks."""
    curve = []
    for peak_dbfs in PEAKS_DBFS:
        scores = []
        for voice, noise in zip(voices, noises, strict=True):
            noisy = mixed(voice, noise)
            gain = np.float32(10 ** (peak_dbfs / 20) / np.max(np.abs(noisy)))
            estimate = enhancer.enhance(gain * noisy, RATE) / gain
            scores.append(metrics.pesq_wb(voice, estimate, RATE))
        curve.append(round(float(np.mean(scores)), 3))
    return curve


def band_edge(
    enhancer: Enhancer, voice: np.ndarray, rate: int, rng: np.random.Generator
) -> list[float]:
    """Level of the estimate relative to the voice in each band, in white noise, dB."""
    noise = rng.standard_normal(len(voice)).astype(np.float32)
    noisy = 0.05 * dsp.mix_at_snr(voice, noise, NARROW_SNR_DB, 1.0, 1.0)[0]
    sounds = (0.05 * voice, enhancer.enhance(noisy, rate))
    powers = [scipy.signal.welch(sound, rate, nperseg=1024)[1] for sound in sounds]
    before, after = ([band.sum() for band in np.array_split(power, BANDS)] for power in powers)
    return [round(float(change), 2) for change in 10 * np.log10(np.divide(after, before))]


def kept_of_clean(enhancer: Enhancer, voices: list[np.ndarray]) -> dict[str, float]:
    """Mean scores of voices to which nothing was added, relative to themselves."""
    estimates = [enhancer.enhance(0.05 * voice, RATE) for voice in voices]
    return mean_scores(voices, estimates)


def worth_of_phase(
    enhancer: Enhancer, voices: list[np.ndarray], noises: list[np.ndarray]
) -> dict[str, dict[str, float]]:
    """Scores of the estimate, and of its magnitudes with the phase of the mixture."""
    audio = enhancer.card.audio
    own, mixtures = [], []
    for voice, noise in zip(voices, noises, strict=True):
        noisy = 0.05 * mixed(voice, noise)
        own.append(enhancer.enhance(noisy, RATE))
        of_estimate, of_mixture = dsp.stft(own[-1], audio), dsp.stft(noisy, audio)
        spectrogram = np.abs(of_estimate) * np.exp(1j * np.angle(of_mixture))
        mixtures.append(dsp.istft(spectrogram, audio, len(noisy)))
    return {"own": mean_scores(voices, own), "of_mixture": mean_scores(voices, mixtures)}


def mean_scores(voices: list[np.ndarray], estimates: list[np.ndarray]) -> dict[str, float]:
    """Mean SI-SDR (dB) and PESQ-wb."""
    pairs = list(zip(voices, estimates, strict=True))
    return {
        "si_sdr": round(float(np.mean([metrics.si_sdr(*pair, RATE) for pair in pairs])), 2),
        "pesq_wb": round(float(np.mean([metrics.pesq_wb(*pair, RATE) for pair in pairs])), 3),
    }


def publish(results: dict[str, Any]) -> None:
    """Write the picture and the tables of the page."""
    figures, about = results["figures"], results["about"]
    save_figure(picture(figures), PICTURE)
    levels = table(
        ["peak (dBFS)", *map(str, PEAKS_DBFS)],
        [[name, *(f"{score:.2f}" for score in figures[name]["level"])] for name in figures],
    )
    clean = table(
        ["network", "SI-SDR (dB)", "PESQ-wb"],
        [
            [name, f"{of['clean']['si_sdr']:.1f}", f"{of['clean']['pesq_wb']:.2f}"]
            for name, of in figures.items()
        ],
    )
    phases = {"own": "its own", "of_mixture": "that of the mixture"}
    phase = table(
        ["network", "phase", "SI-SDR (dB)", "PESQ-wb"],
        [
            [name, phases[key], f"{scores['si_sdr']:.2f}", f"{scores['pesq_wb']:.2f}"]
            for name, of in figures.items()
            for key, scores in of["phase"].items()
        ],
    )
    origin = f"({about['mixtures']} mixtures; {about['machine']}, {about['date']})"
    page = PAGE.read_text()
    for name, text in (("level", levels), ("clean", clean), ("phase", phase)):
        page = with_part(page, name, f"{text}\n\n{origin}")
    atomic.write_text(PAGE, page)


def picture(figures: dict[str, Any]) -> Figure:
    """Quality over the level, and the level of the voice over frequency."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, of in figures.items():
        left.plot(PEAKS_DBFS, of["level"], marker="o", label=name)
        for rate, changes in of["band_edge"].items():
            places_khz = (np.arange(BANDS) + 0.5) / BANDS * int(rate) / 2000
            right.plot(places_khz, changes, marker=".", label=f"{name}, {int(rate) / 1000:g} kHz")
    left.set(xlabel="peak of the recording (dBFS)", ylabel="PESQ-wb", ylim=(1, 4.5))
    left.set_title(f"Quality by level, SNR {MIXTURE_SNR_DB:g} dB")
    right.set(xlabel="frequency (kHz)", ylabel="denoised relative to clean (dB)", ylim=(-6, 6))
    right.set_title(f"Voices at low rates, SNR {NARROW_SNR_DB:g} dB")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    main()
