"""Draws noisy/clean training windows out of recordings of voices and noises, or of pairs.

A window costs a few milliseconds of one core, so that it can be drawn while a network trains:
nothing is stored then and no window comes twice. `Mixer.batch` depends on the seed, the epoch and
the index alone, whoever computes it.

Keras is not imported here: worker processes load this module alone.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Collection, KeysView, Sequence
from typing import NamedTuple

import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora.pools import AudioPool
from speech_enhancement.errors import UserError
from speech_enhancement.mixing import augment, reverberation, synthetic_noise
from speech_enhancement.mixing.recipe import MixingConfig, Range
from speech_enhancement.mixing.reverberation import ImpulseResponse
from speech_enhancement.signal import dsp

AUDIBLE_RE_RECORDING = 10.0 ** (-30.0 / 20.0)
CROP_ATTEMPTS = 4
PICK_ATTEMPTS = 50
FADE_S = 0.005
PAUSE_S = (0.05, 0.4)
GAP_SHARE = (0.1, 0.6)
HIGHEST_PEAK = 0.99
BABBLE_SPREAD_DB = 4.0
SAME_SPEAKER_SHARE = 0.3  # of turns: the same person from further away
SOFT_FIRST_SHARE = 0.3
TURN_BEGIN_SHARE = (0.15, 0.7)
TURN_LENGTH_SHARE = (0.2, 0.6)
TURN_FADE_S = 0.01
SNR_OF_SOFT_VOICE_DB = (-8.0, 15.0)


class Voice(NamedTuple):
    """A voice at the microphone.

    Args:
        sound: the voice with its room, float32 (samples,).
        target: what a denoiser shall make of it.
        group: the speaker, the first of them if there are two.
        drop_db: how much softer one of two speakers is, dB; 0 if there is one.
    """

    sound: np.ndarray
    target: np.ndarray
    group: str
    drop_db: float


class RecordingSampler:
    """An `AudioPool` from which recordings, crops and whole windows are drawn at random.

    Args:
        pool: the recordings.
        balance: groups (speakers, kinds of noise) are drawn with a probability proportional to
            their duration to this power; recordings of one group to their duration.
        indices: use only these recordings; all by default.
        weight_of: a factor of that probability by the name of the group; 1 by default.
    """

    def __init__(
        self,
        pool: AudioPool,
        balance: float,
        indices: Sequence[int] | None = None,
        weight_of: Callable[[str], float] = lambda group: 1.0,
    ) -> None:
        self.pool = pool
        self.group_of = [recording.group for recording in pool.recordings]
        members: dict[str, list[int]] = {}
        self.indices = list(range(len(self.group_of)) if indices is None else indices)
        for index in self.indices:
            members.setdefault(self.group_of[index], []).append(index)
        self._names = list(members)
        self._members = members
        lengths = {
            name: np.array([pool.recordings[i].n_samples for i in indices], np.float64)
            for name, indices in members.items()
        }
        self._within = {name: _cumulative(length) for name, length in lengths.items()}
        totals = np.array([lengths[name].sum() for name in self._names])
        weights = np.array([weight_of(name) for name in self._names])
        self._between = _cumulative(totals**balance * weights)

    @property
    def groups(self) -> KeysView[str]:
        """The names of the groups."""
        return self._members.keys()

    def shares(self) -> list[tuple[float, list[int]]]:
        """For each group, how likely it is to be picked, and its recordings."""
        shares = np.diff(self._between, prepend=0.0).tolist()
        return list(zip(shares, self._members.values(), strict=True))

    def pick(self, rng: np.random.Generator, avoid: Collection[str] = ()) -> int:
        """The index of a recording, of none of the groups `avoid` unless there is no other."""
        for _ in range(PICK_ATTEMPTS):
            name = self._names[int(np.searchsorted(self._between, rng.uniform()))]
            if name not in avoid:
                return self.pick_of(rng, name)
        others = [name for name in self._names if name not in avoid] or self._names
        return self.pick_of(rng, others[rng.integers(len(others))])

    def pick_of(self, rng: np.random.Generator, group: str) -> int:
        """The index of a recording of one group."""
        place = int(np.searchsorted(self._within[group], rng.uniform()))
        return self._members[group][place]

    def crop(self, rng: np.random.Generator, index: int, length: int) -> np.ndarray:
        """`length` samples of a recording, or all of it if it is shorter; silent places avoided."""
        recording = self.pool.recordings[index]
        spare = recording.n_samples - length
        if spare <= 0:
            return self.pool.read(index, 0, recording.n_samples)
        for _ in range(CROP_ATTEMPTS):
            piece = self.pool.read(index, int(rng.integers(spare + 1)), length)
            if _rms(piece) > AUDIBLE_RE_RECORDING * recording.active_rms:
                break
        return piece

    def window(
        self, rng: np.random.Generator, index: int, length: int, pause: tuple[int, int]
    ) -> np.ndarray:
        """`length` samples of a recording, followed by others of its group while it is too short.

        Args:
            rng: source of randomness.
            index: the recording that comes first.
            length: samples.
            pause: range of the silence between two recordings, samples.
        """
        piece = self.crop(rng, index, length)
        if len(piece) == length:
            return piece
        window = np.zeros(length, np.float32)
        position = 0
        while position < length:
            end = min(position + len(piece), length)
            window[position:end] = faded(piece, self.pool.sample_rate)[: end - position]
            position = end + int(rng.integers(pause[0], pause[1] + 1))
            index = self.pick_of(rng, self.group_of[index])
            piece = self.crop(rng, index, max(1, length - position))
        return window


class Recipe:
    """What a recipe does to a finished mixture.

    Args:
        audio: the geometry; `frame_length` is the length of a window.
        config: the recipe.
    """

    def __init__(self, audio: AudioConfig, config: MixingConfig) -> None:
        self.audio = audio
        self.config = config

    def _finish(
        self, rng: np.random.Generator, noisy: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add disturbances to the pair, set its level, and degrade it."""
        return self._degrade(rng, *self._at_level(rng, self._disturb(rng, noisy), clean))

    def _disturb(self, rng: np.random.Generator, noisy: np.ndarray) -> np.ndarray:
        """Add, with their probabilities, the disturbances of microphones and cables."""
        config, rate = self.config, self.audio.sample_rate
        if _chance(rng, config.hum_probability):
            noisy = augment.add_hum(noisy, rate, rng, config.hum_snr_db)
        if _chance(rng, config.rumble_probability):
            noisy = augment.add_rumble(noisy, rate, rng, config.rumble_gain_db)
        if _chance(rng, config.pop_probability):
            noisy = augment.add_pops(noisy, rate, rng, config.pop_gain_db)
        return noisy

    def _at_level(
        self, rng: np.random.Generator, noisy: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pair at a random level of the mixture, never so loud that it clips."""
        wanted = dsp.db_to_amplitude(rng.uniform(*self.config.level_dbfs))
        peak = max(float(np.abs(noisy).max()), float(np.abs(clean).max()), dsp.TINY)
        gain = np.float32(np.minimum(wanted / self._level(noisy), HIGHEST_PEAK / peak))
        return noisy * gain, clean * gain

    def _degrade(
        self, rng: np.random.Generator, noisy: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Degrade the pair, with the recipe's probabilities, as devices and networks do.

        The clean target is moved, made louder and robbed of its highs with it; else it stays as it
        is. A network whose target kept the highs would learn to invent them.
        """
        config, rate = self.config, self.audio.sample_rate
        chances = rng.uniform(size=6)
        if chances[3] < config.volume_probability:
            gain = 2 * (rng.uniform(*config.volume_gain_db),)
            noisy, clean = (augment.change_volume(w, rate, rng, gain) for w in (noisy, clean))
        if chances[4] < config.time_shift_probability:
            delay = 2 * (rng.uniform(*config.time_shift_s),)
            noisy, clean = (augment.time_shift(w, rate, rng, delay) for w in (noisy, clean))
        if chances[5] < config.artificial_noise_probability:
            noisy = augment.add_artificial_noise(noisy, rate, rng, config.artificial_noise_snr_db)
        if chances[0] < config.low_pass_probability:
            cutoff = 2 * (rng.uniform(*config.low_pass_hz),)
            noisy, clean = (augment.low_pass(w, rate, rng, cutoff) for w in (noisy, clean))
        noisy, clean = self._narrow(rng, noisy, clean)
        if _chance(rng, config.offset_probability):
            noisy = augment.add_offset(noisy, rate, rng, config.offset)
        if chances[1] < config.clip_probability:
            noisy = augment.clip(noisy, rate, rng, config.clip_fraction)
        if chances[2] < config.codec_probability:
            noisy = augment.codec_round_trip(noisy, rate, rng, config.codec_compression)
        return noisy, clean

    def _narrow(
        self, rng: np.random.Generator, noisy: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Limit the band of both, with the recipe's probabilities, as lines and codecs do."""
        config, rate = self.config, self.audio.sample_rate
        filters: list[tuple[Callable[..., np.ndarray], tuple[Range, ...]]] = []
        if _chance(rng, config.steep_low_pass_probability):
            filters.append((augment.steep_low_pass, (config.steep_low_pass_hz,)))
        if _chance(rng, config.telephone_probability):
            bands = config.telephone_low_hz, config.telephone_high_hz
            filters.append((augment.telephone_band, bands))
        for narrow, ranges in filters:
            edges = int(rng.integers(2**32))
            noisy, clean = (
                narrow(w, rate, np.random.default_rng(edges), *ranges) for w in (noisy, clean)
            )
        return noisy, clean

    def _level(self, waveform: np.ndarray) -> float:
        """RMS of the active frames, above zero."""
        return max(dsp.active_rms(waveform, self.audio.sample_rate), dsp.TINY)


class PairAugmenter(Recipe):
    """What a recipe does to recorded pairs: speed, tone colour, level and degradations."""

    def draw(
        self, rng: np.random.Generator, read: Callable[[int], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A noisy and a clean window, float32 (frame_length,) each.

        Args:
            rng: source of randomness.
            read: gives as many samples of both recordings as it is asked for.
        """
        config, rate, length = self.config, self.audio.sample_rate, self.audio.frame_length
        factor = _sometimes(rng, config.speed_probability, config.speed)
        pair = read(length if factor == 1.0 else int(np.ceil(length * factor)) + 1)
        if factor != 1.0:
            pair = _both(
                lambda w: augment.fit_length(augment.play_at(w, rate, factor), length), pair
            )
        if rng.uniform() < config.equalise_probability:
            colour = int(rng.integers(2**32))
            pair = _both(
                lambda w: augment.equalise(
                    w, rate, np.random.default_rng(colour), config.equalise_gain_db
                ),
                pair,
            )
        return self._finish(rng, *pair)


class Mixer(Recipe):
    """Draws mixtures of one geometry.

    Args:
        voices: clean voices at the configuration's sample rate.
        noises: noises at the same rate.
        voice_indices, noise_indices: recordings to use; all by default.
        audio: the geometry; `frame_length` is the length of a window.
        config: the recipe.
        seed: of everything that is random.

    Raises:
        UserError: a pool is empty or at another sample rate.
    """

    def __init__(
        self,
        voices: AudioPool,
        noises: AudioPool,
        audio: AudioConfig,
        config: MixingConfig | None = None,
        seed: int = 0,
        voice_indices: Sequence[int] | None = None,
        noise_indices: Sequence[int] | None = None,
    ) -> None:
        for name, pool in (("voices", voices), ("noises", noises)):
            if not pool.recordings or pool.sample_rate != audio.sample_rate:
                raise UserError(
                    f"The {name} must be recordings at {audio.sample_rate} Hz. Received: "
                    f"{len(pool.recordings)} at {pool.sample_rate} Hz"
                )
        super().__init__(audio, config or MixingConfig())
        self.seed = seed
        shared = self.config.balance, self.config.weight_of
        self.voices = RecordingSampler(voices, shared[0], voice_indices, shared[1])
        self.noises = RecordingSampler(noises, shared[0], noise_indices, shared[1])

    def with_window(self, n_samples: int) -> Mixer:
        """The same mixer with windows of another length."""
        other = copy.copy(self)
        other.audio = dataclasses.replace(self.audio, frame_length=n_samples)
        return other

    def batch(self, epoch: int, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The mixtures at a place of the training, always the same ones.

        Args:
            epoch: number of the epoch.
            index: number of the batch in it.
            size: mixtures in the batch.

        Returns:
            The noisy and the clean windows, float32 (size, frame_length) each.
        """
        rng = np.random.default_rng([self.seed, epoch, index])
        noisy = np.empty((size, self.audio.frame_length), np.float32)
        clean = np.empty_like(noisy)
        for row in range(size):
            noisy[row], clean[row] = self.draw(rng)
        return noisy, clean

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One mixture: noisy and clean, float32 (frame_length,) each."""
        config = self.config
        kind = rng.uniform()
        if kind < config.noise_only_probability:
            noise = self.draw_noise(rng, avoid="")
            return self._finish(rng, noise, np.zeros_like(noise))
        snr_db = self._draw_snr_db(rng, kind - config.noise_only_probability)
        voice, target, speaker, drop_db = self.draw_voice(rng)
        if drop_db:  # or noise would cover the softer of two voices
            snr_db = max(snr_db, drop_db + rng.uniform(*SNR_OF_SOFT_VOICE_DB))
        noise = self.draw_noise(rng, avoid=speaker)
        noisy, _ = dsp.mix_at_snr(voice, noise, snr_db, self._level(target), self._level(noise))
        return self._finish(rng, noisy, target)

    def _draw_snr_db(self, rng: np.random.Generator, kind: float) -> float:
        """The signal-to-noise ratio of a mixture, by a chance from 0 on."""
        config = self.config
        if kind < config.clean_only_probability:
            return config.clean_only_snr_db
        if kind < config.clean_only_probability + config.light_noise_probability:
            return rng.uniform(*config.light_noise_snr_db)
        return rng.uniform(*config.snr_db)

    def draw_voice(self, rng: np.random.Generator) -> Voice:
        """A voice as it reaches the microphone.

        Sound and target differ in the late reverberation only (see `augment.reverberate_pair`).
        """
        config, rate = self.config, self.audio.sample_rate
        index = self.voices.pick(rng)
        pause = (round(PAUSE_S[0] * rate), round(PAUSE_S[1] * rate))
        factor = _sometimes(rng, config.speed_probability, config.speed)
        voice = self._played(rng, self.voices, index, factor, pause)
        if _chance(rng, config.whisper_probability):
            voice = augment.whisper(voice, rate, rng)
        drop_db = 0.0
        if _chance(rng, config.turn_probability):
            drop_db = rng.uniform(*config.turn_drop_db)
            voice = self._with_turn(rng, voice, self.voices.group_of[index], drop_db)
        if rng.uniform() < config.gap_probability:
            voice = with_gap(voice, rate, rng)
        if config.voice_low_cut_hz:
            voice = augment.cut_lows(voice, rate, config.voice_low_cut_hz)
        if rng.uniform() < config.equalise_probability:
            voice = augment.equalise(voice, rate, rng, config.equalise_gain_db)
        target = voice
        if rng.uniform() < config.reverb_probability:
            room = self.rooms[rng.integers(len(self.rooms))]
            voice, target = augment.reverberate_pair(voice, room)
        return Voice(voice, target, self.voices.group_of[index], drop_db)

    def _with_turn(
        self, rng: np.random.Generator, voice: np.ndarray, group: str, drop_db: float
    ) -> np.ndarray:
        """A voice of which another takes a part, one of the two `drop_db` softer than the other."""
        other = voice
        if rng.uniform() >= SAME_SPEAKER_SHARE:
            index = self.voices.pick(rng, (group,))
            pause = tuple(round(limit * self.audio.sample_rate) for limit in PAUSE_S)
            other = self._played(rng, self.voices, index, 1.0, (pause[0], pause[1]))
            other = other * np.float32(self._level(voice) / self._level(other))
        pair = (voice, other * dsp.db_to_amplitude(-drop_db))
        if rng.uniform() < SOFT_FIRST_SHARE:
            pair = (pair[1], pair[0])
        return take_turns(*pair, self.audio.sample_rate, rng)

    def draw_noise(self, rng: np.random.Generator, avoid: str) -> np.ndarray:
        """One noise or two at once, at any level; `avoid` is the group kept out of babble."""
        first = self._one_noise(rng, avoid)
        if rng.uniform() >= self.config.two_noises_probability:
            return first
        second = self._one_noise(rng, avoid)
        relative_db = rng.uniform(*self.config.second_noise_gain_db)
        return dsp.mix_at_snr(first, second, -relative_db, self._level(first), self._level(second))[
            0
        ]

    def babble(self, rng: np.random.Generator, avoid: str) -> np.ndarray:
        """The sum of many voices, each of another group, and none of the group `avoid`."""
        total = np.zeros(self.audio.frame_length, np.float32)
        drawn = {avoid}
        fewest, most = self.config.babble_voices
        for _ in range(rng.integers(fewest, most + 1)):
            if drawn >= self.voices.groups:
                drawn = {avoid}
            index = self.voices.pick(rng, drawn)
            drawn.add(self.voices.group_of[index])
            level = self.voices.pool.recordings[index].active_rms
            gain = dsp.db_to_amplitude(rng.normal(0.0, BABBLE_SPREAD_DB))
            piece = self.voices.window(rng, index, len(total), (0, 0))
            total += piece * np.float32(gain / max(level, dsp.TINY))
        return total

    @functools.cached_property
    def rooms(self) -> list[ImpulseResponse]:
        """The rooms that voices are put into, made on first use."""
        config, rate = self.config, self.audio.sample_rate
        if config.reverb_dir is not None:
            return reverberation.load_bank(config.reverb_dir, rate)
        return reverberation.synthesise_bank(config.n_rooms, rate, self.seed, config.reverb_rt60_s)

    def _one_noise(self, rng: np.random.Generator, avoid: str) -> np.ndarray:
        """A babble, a synthetic or a recorded noise."""
        config, rate = self.config, self.audio.sample_rate
        kind = rng.uniform()
        if kind < config.babble_probability:
            noise = self.babble(rng, avoid)
        elif kind < (computed := config.babble_probability + config.synthetic_probability):
            names = list(synthetic_noise.NOISES)
            name = names[rng.integers(len(names))]
            return synthetic_noise.NOISES[name](self.audio.frame_length, rate, rng)
        elif kind < computed + config.tones_probability:
            return synthetic_noise.tones(self.audio.frame_length, rate, rng)
        else:
            index = self.noises.pick(rng)
            factor = _sometimes(rng, config.noise_speed_probability, config.noise_speed)
            noise = self._played(rng, self.noises, index, factor, (0, 0))
        if rng.uniform() < config.noise_equalise_probability:
            noise = augment.equalise(noise, rate, rng, config.equalise_gain_db)
        return noise

    def _played(
        self,
        rng: np.random.Generator,
        source: RecordingSampler,
        index: int,
        factor: float,
        pause: tuple[int, int],
    ) -> np.ndarray:
        """A window of a recording played at `factor` times its speed."""
        length = self.audio.frame_length
        if factor == 1.0:
            return source.window(rng, index, length, pause)
        slice_ = source.window(rng, index, int(np.ceil(length * factor)) + 1, pause)
        return augment.fit_length(augment.play_at(slice_, self.audio.sample_rate, factor), length)


def with_gap(waveform: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Put a silence before, into or behind the sound; what is pushed out at the end is lost."""
    length = len(waveform)
    gap = round(rng.uniform(*GAP_SHARE) * length)
    cut = (0, length - gap, int(rng.integers(length - gap + 1)))[rng.integers(3)]
    broken = np.zeros_like(waveform)
    broken[:cut] = faded(waveform[:cut], rate)
    broken[cut + gap :] = faded(waveform[cut : length - gap], rate)
    return broken


def take_turns(
    first: np.ndarray, second: np.ndarray, rate: int, rng: np.random.Generator
) -> np.ndarray:
    """The first sound, but for a part of the window in which the second one takes its place."""
    length = len(first)
    begin = rng.uniform(*TURN_BEGIN_SHARE) * length
    end = begin + rng.uniform(*TURN_LENGTH_SHARE) * length
    time, fade = np.arange(length), TURN_FADE_S * rate
    rise, fall = (np.clip((time - edge) / fade, 0.0, 1.0) for edge in (begin, end))
    share = (rise * (1.0 - fall)).astype(np.float32)
    return first * (1.0 - share) + second * share


def faded(waveform: np.ndarray, rate: int) -> np.ndarray:
    """A copy that rises from and falls to silence within 5 ms, so that a cut does not click."""
    n_fade = min(round(FADE_S * rate), len(waveform) // 2)
    ramp = np.linspace(0.0, 1.0, n_fade, endpoint=False, dtype=np.float32)
    result = waveform.copy()
    result[:n_fade] *= ramp
    result[len(result) - n_fade :] *= ramp[::-1]
    return result


def _both(
    change: Callable[[np.ndarray], np.ndarray], pair: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the same change to two waveforms."""
    return change(pair[0]), change(pair[1])


def _sometimes(rng: np.random.Generator, probability: float, limits: tuple[float, float]) -> float:
    """A factor within `limits` with some probability, else 1."""
    drawn = rng.uniform(*limits)
    return drawn if rng.uniform() < probability else 1.0


def _chance(rng: np.random.Generator, probability: float) -> bool:
    """Draw whether something happens; with probability 0, no random number is used."""
    return probability > 0.0 and rng.uniform() < probability


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """Cumulative probabilities, the last exactly 1."""
    total = np.cumsum(weights)
    total /= total[-1]
    total[-1] = 1.0
    return total


def _rms(waveform: np.ndarray) -> float:
    """Root mean square over everything."""
    return float(np.sqrt(np.dot(waveform, waveform) / max(1, len(waveform))))
