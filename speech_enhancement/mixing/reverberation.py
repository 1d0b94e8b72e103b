"""Room impulse responses: synthesised shoebox rooms or a folder of measured ones.

A response is float32 (samples,), begins with the direct sound and is scaled to unit energy of
its first 50 ms, so that a voice keeps its level and its place in time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import scipy.signal

from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_io
from speech_enhancement.signal import dsp

SPEED_OF_SOUND = 343.0
EARLY_S = 0.05
MIXING_TIME_S = 0.06
HIGH_PASS_HZ = 60.0
LONGEST_S = 1.0
ROOM_M = ((2.5, 2.5, 2.3), (9.0, 7.0, 3.8))
WALL_MARGIN_M = 0.4


@dataclasses.dataclass(frozen=True)
class ImpulseResponse:
    """Response of a room between two of its points.

    Args:
        full: the whole response, float32 (samples,).
        early: its first 50 ms, faded out over the last 5 ms: the clean target of a reverberant
            voice, because early reflections help the ear and the late ones do not.
    """

    full: np.ndarray
    early: np.ndarray


def impulse_response(response: np.ndarray, sample_rate: int) -> ImpulseResponse:
    """Align a raw response to its direct sound, cut its inaudible end and scale it.

    Args:
        response: (samples,) at any level and delay.
        sample_rate: Hz.
    """
    magnitude = np.abs(response)
    direct = int(np.argmax(magnitude > 0.5 * magnitude.max()))
    full = response[direct : direct + round(LONGEST_S * sample_rate)]
    full = full[: _audible_length(full)]
    early = full[: round(EARLY_S * sample_rate)].copy()
    fade = min(len(early), round(0.1 * EARLY_S * sample_rate))
    early[len(early) - fade :] *= np.linspace(1.0, 0.0, fade)
    scale = 1.0 / max(np.sqrt(np.sum(np.square(early))), dsp.TINY)
    return ImpulseResponse((scale * full).astype(np.float32), (scale * early).astype(np.float32))


def synthesise(sample_rate: int, rng: np.random.Generator, rt60_s: float) -> np.ndarray:
    """The impulse response of a random shoebox room.

    Image sources give the first 60 ms; after that, where reflections overlap too densely to be
    told apart, noise of the same level decays at the same pace, a little faster in the highs.

    Args:
        sample_rate: Hz.
        rng: source of randomness: room, places of mouth and microphone, tail.
        rt60_s: time in which the sound decays by 60 dB, s.

    Returns:
        float32 (1.1 * rt60_s * sample_rate + delay,), not aligned, not scaled.

    Reference: J. Allen and D. Berkley, "Image method for efficiently simulating small-room
        acoustics", JASA 65, 1979. E. Lehmann and A. Johansson, "Diffuse reverberation model for
        efficient image-source simulation of room impulse responses", IEEE TASLP 18, 2010.
    """
    room = rng.uniform(*ROOM_M)
    mouth, microphone = _places(room, rng)
    delay_s = np.linalg.norm(mouth - microphone) / SPEED_OF_SOUND
    n_samples = round((1.1 * rt60_s + delay_s) * sample_rate)
    response = np.zeros(n_samples)
    begin = round((delay_s + min(MIXING_TIME_S, 0.5 * rt60_s)) * sample_rate)
    arrivals, gains = _image_sources(room, mouth, microphone, rt60_s, begin / sample_rate)
    np.add.at(response, np.minimum((arrivals * sample_rate).astype(int), n_samples - 1), gains)
    response[begin:] = _diffuse_tail(response, begin, sample_rate, rng, rt60_s)
    high_pass = scipy.signal.butter(2, HIGH_PASS_HZ, "highpass", fs=sample_rate, output="sos")
    return scipy.signal.sosfilt(high_pass, response).astype(np.float32)


def synthesise_bank(
    count: int, sample_rate: int, seed: int, rt60_s: tuple[float, float]
) -> list[ImpulseResponse]:
    """`count` random rooms whose RT60 is uniform in the range `rt60_s`, s."""
    rng = np.random.default_rng(seed)
    return [
        impulse_response(synthesise(sample_rate, rng, rng.uniform(*rt60_s)), sample_rate)
        for _ in range(count)
    ]


def load_bank(folder: Path, sample_rate: int) -> list[ImpulseResponse]:
    """The measured responses of a folder, resampled to `sample_rate`.

    Raises:
        UserError: the folder holds no audio, or a file of it is silent.
    """
    responses = []
    for path in audio_io.find_audio_files(folder):
        response, _ = audio_io.load_audio(path, sample_rate)
        if not response.any():
            raise UserError(f"The impulse response {path} is silent")
        responses.append(impulse_response(response, sample_rate))
    return responses


def _places(room: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where mouth and microphone are in the room, 0.3-2 m apart as far as the walls allow."""
    low, high = np.full(3, WALL_MARGIN_M), room - WALL_MARGIN_M
    mouth = rng.uniform(low, high)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    return mouth, np.clip(mouth + rng.uniform(0.3, 2.0) * direction, low, high)


def _image_sources(
    room: np.ndarray, mouth: np.ndarray, microphone: np.ndarray, rt60_s: float, until_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Arrival times (s) and gains of the mirror images that arrive before `until_s`."""
    order = np.ceil(until_s * SPEED_OF_SOUND / (2.0 * room)).astype(int) + 1
    shifts = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in order), indexing="ij"), axis=-1
    ).reshape(-1, 1, 3)
    mirrors = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).T.reshape(1, -1, 3)
    images = (1 - 2 * mirrors) * mouth + 2 * shifts * room  # (shifts, mirrors, axes)
    distance = np.linalg.norm(images - microphone, axis=-1)
    arrival = distance / SPEED_OF_SOUND
    bounces = (np.abs(shifts - mirrors) + np.abs(shifts)).sum(axis=-1)
    gain = _reflection_coefficient(room, rt60_s) ** bounces / np.maximum(distance, 0.1)
    early = arrival < until_s
    return arrival[early], gain[early]


def _reflection_coefficient(room: np.ndarray, rt60_s: float) -> float:
    """What a wall leaves of a wave's amplitude, by Eyring's formula."""
    volume = np.prod(room)
    surface = 2.0 * (room[0] * room[1] + room[0] * room[2] + room[1] * room[2])
    return float(np.exp(-12.0 * np.log(10.0) * volume / (SPEED_OF_SOUND * surface * rt60_s)))


def _diffuse_tail(
    response: np.ndarray, begin: int, sample_rate: int, rng: np.random.Generator, rt60_s: float
) -> np.ndarray:
    """Decaying noise that continues `response` from sample `begin` at the level it has there."""
    n_tail = len(response) - begin
    decay = 10.0 ** (-3.0 * np.arange(n_tail) / (rt60_s * sample_rate))
    noise = rng.standard_normal(n_tail) * decay
    # The darker half of the tail: highs are swallowed by air and curtains within half the time.
    highest_hz = min(2000.0, 0.45 * sample_rate)
    low_pass = scipy.signal.butter(1, highest_hz, fs=sample_rate, output="sos")
    dark = scipy.signal.sosfilt(low_pass, noise)
    tail = dark + (noise - dark) * decay
    joint = max(1, begin // 3)
    level = np.sqrt(np.mean(np.square(response[begin - joint : begin])))
    start = np.sqrt(np.mean(np.square(tail[:joint]))) if n_tail else 1.0
    # Half a joint before and half a joint after `begin` lie one joint of decay apart.
    return tail * (level / max(start, dsp.TINY)) * 10.0 ** (-3.0 * joint / (rt60_s * sample_rate))


def _audible_length(response: np.ndarray) -> int:
    """Samples until 60 dB less energy than all of it remains."""
    remaining = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    return max(1, int(np.argmax(remaining < 1e-6 * remaining[0])) or len(response))
