"""Make the recordings of this folder: synthesised voices, synthesised noises, and mixtures of them.

    python -m demo_data.make_demo_data                write them over those that are here
    python -m demo_data.make_demo_data some/folder    write them elsewhere

Voices come from two speech synthesisers (Debian: `apt-get install flite espeak-ng`), noises from
numpy. Everything random is seeded, so that the same versions write the same bytes.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_io
from speech_enhancement.signal import dsp

SEED = 2024
# Noises are drawn at this rate and resampled, so that none aliases in a file of a lower rate.
SYNTHESIS_RATE = 48000
VOICE_RATE = 16000
LEAD_S = 0.3
NOISE_S = 2.0
NOISES_PER_CLASS = 2
LEVEL_DBFS = -25.0


@dataclasses.dataclass(frozen=True)
class Pair:
    """One noisy recording and its clean twin.

    Args:
        noise: name in `NOISES`, and of the two files.
        speaker: `flite:VOICE` or `espeak-ng:VOICE`.
        text: the sentence.
        snr_db: ratio of voice to noise.
        sample_rate: Hz.
        stereo: two microphones, the second later and weaker.
    """

    noise: str
    speaker: str
    text: str
    snr_db: float
    sample_rate: int
    stereo: bool = False


PAIRS = (
    Pair("alarm", "flite:slt", "The kettle was on when the alarm began to ring.", 5.0, 8000),
    Pair("insects", "flite:rms", "We walked home by the river, slowly, after the rain.", 2.0, 8000),
    Pair(
        "vacuum_cleaner", "flite:awb", "Could you say that once more, a little louder?", 3.0, 8000
    ),
    Pair("bells", "flite:slt", "Meet me at the tower when the bells have stopped.", 4.0, 16000),
    Pair(
        "hum", "espeak-ng:de+m3", "Die alte Lampe brummt, aber sie leuchtet noch immer.", 0.0, 16000
    ),
    Pair(
        "rain", "espeak-ng:fr+f2", "Le train est encore parti sans nous.", 8.0, 48000, stereo=True
    ),
)

# No speaker of PAIRS is among these, so that a network trained with them does not know the pairs.
VOICES = {
    "english": ("flite:kal16", "Seven boats lay in the harbour.", "Nobody had moved the ladder."),
    "american": ("espeak-ng:en-us+f1", "Put the blue cup on the shelf.", "He forgot to lock it."),
    "spanish": (
        "espeak-ng:es+f4",
        "El mercado abre muy temprano.",
        "Ayer vimos nevar en la costa.",
    ),
    "italian": ("espeak-ng:it+m1", "Il gatto dorme sulla finestra.", "Domani torniamo al mare."),
    "portuguese": ("espeak-ng:pt+f3", "A chuva parou de madrugada.", "O jardim ficou todo verde."),
    "swedish": ("espeak-ng:sv+m4", "Cykeln lutar mot det gula huset.", "Vi ses igen på torsdag."),
}


def alarm(n: int, rng: np.random.Generator) -> np.ndarray:
    """Alarm clock: groups of four short beeps."""
    pitch = rng.uniform(1700.0, 2300.0)
    time = _time(n)
    gate = (time % 1.0 < 0.5) & (time % 0.125 < 0.07)
    tone = sum(np.sin(2 * np.pi * pitch * k * time) / k**2 for k in (1, 3, 5))
    return tone * _smooth(gate.astype(float), 0.002)


def insects(n: int, rng: np.random.Generator) -> np.ndarray:
    """Crickets: three of them, each with its own pitch, pulse rate and chirp rate."""
    time = _time(n)
    total = 0.02 * _coloured(n, rng, exponent=0.5)
    for gain in (1.0, 0.5, 0.3):
        pitch, pulses, chirps = rng.uniform((2600.0, 28.0, 2.0), (3600.0, 45.0, 3.5))
        pulse = np.maximum(0.0, np.sin(2 * np.pi * pulses * time))
        chirp = ((chirps * time + rng.uniform()) % 1.0 < 0.6).astype(float)
        carrier = np.sin(2 * np.pi * pitch * time) + 0.2 * np.sin(4 * np.pi * pitch * time)
        total = total + gain * carrier * pulse * _smooth(chirp, 0.01)
    return total


def vacuum_cleaner(n: int, rng: np.random.Generator) -> np.ndarray:
    """Vacuum cleaner: the harmonics of a motor whose speed wavers, in a broad rush of air."""
    wavering = _unit(_smooth(rng.standard_normal(n), 0.05))
    speed = rng.uniform(95.0, 130.0) * (1.0 + 0.004 * wavering)
    turns = 2 * np.pi * np.cumsum(speed) / SYNTHESIS_RATE
    motor = sum(np.sin(k * turns + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 24))
    return 0.3 * motor + _unit(_coloured(n, rng, exponent=0.8))


def bells(n: int, rng: np.random.Generator) -> np.ndarray:
    """Church bells: strokes of hum, prime, tierce, quint, nominal and upper partials."""
    total = np.zeros(n)
    for stroke in range(int(n / SYNTHESIS_RATE / 0.7) + 1):
        begin = int(0.7 * SYNTHESIS_RATE * (stroke + 0.1 * rng.uniform()))
        time = _time(max(0, n - begin))
        pitch = rng.choice((392.0, 440.0, 523.0, 587.0))
        for ratio, gain in (
            (0.5, 0.4),
            (1, 0.7),
            (1.2, 0.6),
            (1.5, 0.3),
            (2, 1),
            (2.67, 0.5),
            (4, 0.3),
        ):
            total[begin:] += gain * np.sin(2 * np.pi * pitch * ratio * time) * np.exp(-time * ratio)
    return total


def clock(n: int, rng: np.random.Generator) -> np.ndarray:
    """Ticking clock: tick and tock, two damped resonances a second."""
    times = np.arange(rng.uniform(0, 0.3), n / SYNTHESIS_RATE, 0.5)
    pitches = np.where(np.arange(len(times)) % 2, 2100.0, 2700.0)
    return _clicks(n, rng, times, pitches, decay_s=0.008)


def keyboard(n: int, rng: np.random.Generator) -> np.ndarray:
    """Typing: key strokes at irregular intervals, no two alike."""
    times = np.cumsum(rng.gamma(4.0, 0.035, size=int(n / SYNTHESIS_RATE * 12)))
    return _clicks(n, rng, times, rng.uniform(900.0, 4000.0, len(times)), decay_s=0.006)


def rain(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rain: a hiss, and drops near the microphone."""
    times = rng.uniform(0, n / SYNTHESIS_RATE, size=int(n / SYNTHESIS_RATE * 40))
    drops = _clicks(n, rng, times, rng.uniform(1500.0, 7000.0, len(times)), decay_s=0.002)
    return _unit(_coloured(n, rng, exponent=0.3)) + 0.5 * drops


def hum(n: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum: 50 or 60 Hz and its harmonics, the even ones stronger, on a little hiss."""
    mains = rng.choice((50.0, 60.0))
    time = _time(n)
    harmonics = [
        (1.0 if k % 2 else 1.5) / k * np.sin(2 * np.pi * mains * k * time + rng.uniform(0, 6.28))
        for k in range(1, 30)
    ]
    return sum(harmonics) + 0.1 * _unit(_coloured(n, rng, exponent=0.5))


NOISES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    function.__name__: function
    for function in (alarm, insects, vacuum_cleaner, bells, clock, keyboard, rain, hum)
}


def make_noise(name: str, seconds: float, sample_rate: int, seed: int) -> np.ndarray:
    """A noise of `NOISES` at `LEVEL_DBFS`.

    Args:
        name: key of `NOISES`.
        seconds: its length.
        sample_rate: Hz.
        seed: another seed gives another recording of the same class.

    Returns:
        float32 (samples,).
    """
    rng = np.random.default_rng([SEED, seed, list(NOISES).index(name)])
    waveform = NOISES[name](round(seconds * SYNTHESIS_RATE), rng)
    return _at_level(
        dsp.resample(waveform.astype(np.float32), SYNTHESIS_RATE, sample_rate), sample_rate
    )


def make_voice(speaker: str, text: str, sample_rate: int) -> np.ndarray:
    """A synthesised sentence at `LEVEL_DBFS`, with a short silence before and after it.

    Args:
        speaker: `flite:VOICE` or `espeak-ng:VOICE`.
        text: the sentence.
        sample_rate: Hz.

    Returns:
        float32 (samples,).

    Raises:
        UserError: the synthesiser is not installed.
    """
    program, voice = speaker.split(":")
    if shutil.which(program) is None:
        raise UserError(f"`{program}` makes the voices. Install it: apt-get install {program}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "voice.wav")
        options = {
            "flite": ["-voice", voice, "-t", text, str(path)],
            "espeak-ng": ["-v", voice, "-s", "150", "-w", str(path), text],
        }[program]
        subprocess.run([program, *options], check=True, capture_output=True)
        waveform, _ = audio_io.load_audio(path, sample_rate)
    loud = np.flatnonzero(np.abs(waveform) > 1e-3 * np.abs(waveform).max())
    lead = round(LEAD_S * sample_rate)
    return _at_level(np.pad(waveform[loud[0] : loud[-1] + 1], lead), sample_rate)


def make_pair(pair: Pair, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The noisy and the clean waveform of a pair, (samples,) or (samples, 2)."""
    rate = pair.sample_rate
    clean = make_voice(pair.speaker, pair.text, rate)
    noise = make_noise(pair.noise, len(clean) / rate, rate, seed)[: len(clean)]
    levels = dsp.active_rms(clean, rate), dsp.active_rms(noise, rate)
    if pair.stereo:
        clean = np.stack([clean, 0.7 * _delayed(clean, 0.0004, rate)], axis=-1)
        noise = np.stack([0.7 * _delayed(noise, 0.0002, rate), noise], axis=-1)
    noisy, _ = dsp.mix_at_snr(clean, noise, pair.snr_db, *levels)
    return noisy, clean


def make_all(folder: Path) -> None:
    """Write pairs, voices and noises below `folder`."""
    for seed, pair in enumerate(PAIRS):
        noisy, clean = make_pair(pair, seed)
        for kind, waveform in (("noisy", noisy), ("clean", clean)):
            path = folder / kind / f"{pair.noise}.wav"
            audio_io.save_audio(path, waveform, pair.sample_rate, subtype="PCM_16")
    for name, (speaker, *sentences) in VOICES.items():
        for number, text in enumerate(sentences, start=1):
            path = folder / "voices" / name / f"{name}_{number}.flac"
            audio_io.save_audio(path, make_voice(speaker, text, VOICE_RATE), VOICE_RATE)
    for name in NOISES:
        for number in range(1, NOISES_PER_CLASS + 1):
            path = folder / "noises" / name / f"{name}_{number}.flac"
            # A network trained with these must not know the noises of the pairs.
            noise = make_noise(name, NOISE_S, VOICE_RATE, seed=len(PAIRS) + number)
            audio_io.save_audio(path, noise, VOICE_RATE)


def _time(n: int) -> np.ndarray:
    """Seconds of `n` samples."""
    return np.arange(n) / SYNTHESIS_RATE


def _unit(waveform: np.ndarray) -> np.ndarray:
    """The waveform at an RMS of one."""
    return waveform / np.sqrt(np.mean(waveform**2))


def _at_level(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The waveform at `LEVEL_DBFS`."""
    gain = dsp.db_to_amplitude(LEVEL_DBFS) / dsp.active_rms(waveform, sample_rate)
    return (gain * waveform).astype(np.float32)


def _delayed(waveform: np.ndarray, seconds: float, sample_rate: int) -> np.ndarray:
    """The waveform some samples later, of the same length."""
    delay = round(seconds * sample_rate)
    return np.pad(waveform, (delay, 0))[: len(waveform)]


def _smooth(curve: np.ndarray, seconds: float) -> np.ndarray:
    """A moving average, so that a gate opens without a click."""
    width = round(seconds * SYNTHESIS_RATE)
    return np.convolve(curve, np.ones(width) / width, mode="same")


def _coloured(n: int, rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Noise whose amplitude falls with the frequency to the power of `exponent`."""
    frequencies = np.fft.rfftfreq(n, 1.0 / SYNTHESIS_RATE)
    curve = np.maximum(frequencies, 40.0) ** -exponent
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * curve, n)


def _clicks(
    n: int, rng: np.random.Generator, times: np.ndarray, pitches: np.ndarray, decay_s: float
) -> np.ndarray:
    """Damped, noisy resonances that begin at `times` (s)."""
    total = np.zeros(n)
    length = round(8 * decay_s * SYNTHESIS_RATE)
    time = _time(length)
    for begin, pitch in zip((times * SYNTHESIS_RATE).astype(int), pitches, strict=True):
        burst = np.sin(2 * np.pi * pitch * time) + 0.5 * rng.standard_normal(length)
        piece = total[begin : begin + length]
        piece += (rng.uniform(0.5, 1.0) * burst * np.exp(-time / decay_s))[: len(piece)]
    return total


if __name__ == "__main__":
    try:
        make_all(Path(*sys.argv[1:2]) if sys.argv[1:] else Path(__file__).parent)
    except UserError as error:
        sys.exit(f"error: {error}")
