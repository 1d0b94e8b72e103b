"""What mixtures are drawn from on an accelerator: streams of samples and rooms, as plain arrays.

A **stream** is a stretch of sound in which a window may begin anywhere: a recording that is longer
than a window, or all shorter ones of a speaker one after the other. What the host computes for a
mixture (babble, synthetic noises, hum, rumble) is computed beforehand here, a few minutes of each,
by the same functions. `Pools` holds numpy arrays; what draws from them is in `device_mixer`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from speech_enhancement.errors import UserError
from speech_enhancement.mixing import augment, synthetic_noise
from speech_enhancement.mixing.mixer import PAUSE_S, Mixer, RecordingSampler, faded
from speech_enhancement.signal import dsp

FULL_SCALE = 32767
LARGEST = 2**31  # samples that 32-bit places reach: 37 hours at 16 kHz
STREAM_WINDOWS = 4  # length of a computed stream, in windows
SPARE = 64  # samples beyond a window that playing at another speed reads
BABBLES = 48
COMPUTED = 96
KINDS = ("recorded", "babble", "synthetic", "tones", "hum", "rumble", "artificial")

Stream = tuple[np.ndarray, float]


@dataclasses.dataclass
class Streams:
    """Sounds of one kind end to end, and how often each is drawn.

    Args:
        samples: int16 (all samples,).
        start: first sample of each stream, int32 (streams,).
        length: samples of each stream, int32 (streams,).
        gain: what its samples are multiplied by, float32 (streams,).
        level: RMS of its active frames, float32 (streams,).
        cumulative: cumulative probabilities, float32 (kinds, streams).
    """

    samples: np.ndarray
    start: np.ndarray
    length: np.ndarray
    gain: np.ndarray
    level: np.ndarray
    cumulative: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def longest_crop(mixer: Mixer) -> int:
    """Samples of a stream that a window may need, at the fastest speed."""
    fastest = max(1.0, mixer.config.speed[1], mixer.config.noise_speed[1])
    return math.ceil(mixer.audio.frame_length * fastest) + SPARE


def build(mixer: Mixer) -> dict[str, Any]:
    """Everything that a mixer draws from, as nested dictionaries of numpy arrays.

    Args:
        mixer: the host's, whose recordings, recipe and seed are used.

    Returns:
        `voice` and `noise` (see `Streams`), and `rooms`, float32 (rooms, 2, samples) of full and
        early responses, the first of which is no room at all.

    Raises:
        UserError: the recordings have more samples than 32-bit places reach.
    """
    rng = np.random.default_rng([mixer.seed, 1])
    length = longest_crop(mixer)
    pause = tuple(round(limit * mixer.audio.sample_rate) for limit in PAUSE_S)
    voices = list(_recorded(mixer.voices, length, (pause[0], pause[1]), rng))
    noises = {"recorded": list(_recorded(mixer.noises, length, (0, 0), rng))}
    noises |= {kind: [(sound, 1.0) for sound in sounds] for kind, sounds in _computed(mixer, rng)}
    return {
        "voice": _joined([voices], mixer.audio.sample_rate).arrays(),
        "noise": _joined([noises.get(k, []) for k in KINDS], mixer.audio.sample_rate).arrays(),
        "rooms": _rooms(mixer),
    }


def _recorded(
    recordings: RecordingSampler, length: int, pause: tuple[int, int], rng: np.random.Generator
) -> Iterator[Stream]:
    """Streams of recordings and their probabilities: those of `RecordingSampler.pick`."""
    pool = recordings.pool
    for share, members in recordings.shares():
        total = sum(pool.recordings[index].n_samples for index in members)
        short = []
        for index in members:
            n_samples = pool.recordings[index].n_samples
            if n_samples < length:
                short.append(index)
            else:
                yield pool.read(index, 0, n_samples), share * n_samples / total
        if short:
            in_short = sum(pool.recordings[index].n_samples for index in short)
            yield _chained(recordings, short, 2 * length, pause, rng), share * in_short / total


def _chained(
    recordings: RecordingSampler,
    indices: Sequence[int],
    length: int,
    pause: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Short recordings one after the other, repeated until they have `length` samples."""
    pool, pieces, total = recordings.pool, [], 0
    while total < length:
        for index in rng.permutation(indices):
            sound = pool.read(index, 0, pool.recordings[index].n_samples)
            silence = np.zeros(int(rng.integers(pause[0], pause[1] + 1)), np.float32)
            pieces += [faded(sound, pool.sample_rate), silence]
            total += len(sound) + len(silence)
    return np.concatenate(pieces)


def _computed(mixer: Mixer, rng: np.random.Generator) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Kinds of noises that the recipe has and that are computed, each with its sounds."""
    config, rate = mixer.config, mixer.audio.sample_rate
    length = max(STREAM_WINDOWS * mixer.audio.frame_length, longest_crop(mixer))
    if config.babble_probability:
        longer = mixer.with_window(length)
        yield "babble", [longer.babble(rng, "") for _ in range(BABBLES)]
    computed: dict[str, tuple[float, list[Callable[..., np.ndarray]]]] = {
        "synthetic": (config.synthetic_probability, list(synthetic_noise.NOISES.values())),
        "tones": (config.tones_probability, [synthetic_noise.tones]),
        "hum": (config.hum_probability, [synthetic_noise.hum]),
        "rumble": (config.rumble_probability, [augment.rumble]),
        "artificial": (
            config.artificial_noise_probability,
            [synthetic_noise.NOISES[name] for name in augment.ARTIFICIAL_NOISES],
        ),
    }
    for kind, (probability, makers) in computed.items():
        if probability:
            sounds = [makers[i % len(makers)](length, rate, rng) for i in range(COMPUTED)]
            yield kind, sounds


def _joined(kinds: Sequence[Sequence[Stream]], rate: int) -> Streams:
    """Streams of several kinds end to end."""
    streams = [stream for kind in kinds for stream in kind]
    lengths = np.array([len(sound) for sound, _ in streams])
    if lengths.sum() >= LARGEST:
        raise UserError(
            f"--data device takes recordings of up to {LARGEST / rate / 3600:.0f} hours of voices "
            f"and as many of noises. Received: {lengths.sum() / rate / 3600:.0f} hours"
        )
    peaks = [max(float(np.abs(sound).max()), dsp.TINY) for sound, _ in streams]
    samples = np.empty(lengths.sum(), np.int16)
    starts = np.cumsum(lengths) - lengths
    for (sound, _), start, peak in zip(streams, starts, peaks, strict=True):
        samples[start : start + len(sound)] = np.round(sound * (FULL_SCALE / peak))
    return Streams(
        samples,
        starts.astype(np.int32),
        lengths.astype(np.int32),
        np.array(peaks, np.float32) / np.float32(FULL_SCALE),
        np.array([dsp.active_rms(sound, rate) for sound, _ in streams], np.float32),
        _cumulative([[weight for _, weight in kind] for kind in kinds]),
    )


def _cumulative(weights: Sequence[Sequence[float]]) -> np.ndarray:
    """Cumulative probabilities within each kind, over the streams of all, float32 (kinds, all)."""
    rows, before, total = [], 0, sum(map(len, weights))
    for kind in weights:
        row = np.zeros(total)
        row[before : before + len(kind)] = kind
        before += len(kind)
        row = np.cumsum(row) / max(row.sum(), dsp.TINY)
        row[before - 1 if kind else total :] = 1.0
        rows.append(row)
    return np.array(rows, np.float32)


def _rooms(mixer: Mixer) -> np.ndarray:
    """Full and early responses of no room and of all rooms, float32 (1 + rooms, 2, samples)."""
    rooms = mixer.rooms if mixer.config.reverb_probability else []
    longest = max((len(room.full) for room in rooms), default=1)
    responses = np.zeros((1 + len(rooms), 2, longest), np.float32)
    responses[0, :, 0] = 1.0
    for row, room in zip(responses[1:], rooms, strict=True):
        row[0, : len(room.full)] = room.full
        row[1, : len(room.early)] = room.early
    return responses
