"""Removes noise from waveforms of any rate, length and channel count.

>>> from speech_enhancement import Enhancer
>>> enhancer = Enhancer.load()
>>> clean = enhancer.enhance(samples, rate)  # (samples,)
>>> clean.shape == samples.shape
True
>>> clean = enhancer.enhance(stereo, rate, channel_axis=0)  # (channels, samples)

and, block by block, of any length, as a recording arrives:

>>> stream = Enhancer.load("dpcrn").stream(rate)
>>> parts = [stream.feed(block) for block in blocks]
>>> clean = np.concatenate([*parts, stream.flush()])
>>> clean.shape == samples.shape
True

A network works at a rate of its own. What it changes is brought to the recording's rate and added
to the recording, so that a network that changes nothing gives back the recording itself. The band
above the network's has gains of its own, see `upper_band`.
"""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speech_enhancement import registry
from speech_enhancement.errors import UsageError
from speech_enhancement.files.headers import MAX_CHANNELS, MAX_RATE, MIN_RATE
from speech_enhancement.inference import blocks, network_files
from speech_enhancement.inference import runtime as runtimes
from speech_enhancement.inference.blocks import Denoised, GainLimits, Resampler
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.inference.upper_band import UpperBand
from speech_enhancement.signal import levels

SIGNED = (np.int8, np.int16, np.int32)
BLOCK_S = 10
RUN_S = 7.0  # of a long recording in one call of a network that takes any length,
LOOKAHEAD_S = 8.0  # and what it is given beyond, for its backward direction
PIECE = 16000  # samples of a network's output that are brought to the recording's rate at once


class Enhancer:
    """A network that removes noise, with all that it needs to know.

    Args:
        network: see `runtime.load_network`.
        card: the network's card.
        limits: how much of the denoising is done.
        window_overlap: see `Enhancer.load`.
    """

    def __init__(
        self,
        network: Any,
        card: ModelCard,
        limits: GainLimits | None = None,
        window_overlap: float | None = None,
    ) -> None:
        self.network = network
        self.card = card
        self.limits = limits or GainLimits()
        self.window_overlap = blocks.OVERLAP if window_overlap is None else window_overlap

    @classmethod
    def load(
        cls,
        network: str | Path = registry.DEFAULT_NETWORK,
        runtime: str = "auto",
        threads: int | None = None,
        strength: float = 1.0,
        max_attenuation_db: float | None = None,
        window_overlap: float | None = None,
    ) -> Enhancer:
        """Load a saved network.

        Args:
            network: name of a shipped network, or path of a network's files without a suffix:
                `weights/mine` for `weights/mine.onnx`; or `hf://user/name[@revision]` for one on
                the Hugging Face Hub.
            runtime: `onnx`, `keras`, or `auto` for the first of them that is there.
            threads: processor threads to use; all by default.
            strength: 0..1, factor of the attenuation in dB.
            max_attenuation_db: no time or frequency falls by more, dB; no limit by default.
            window_overlap: 0..0.5, share of a window that overlaps the next one and is faded into
                it; 0.25 by default. Only for networks that process windows.

        Raises:
            UsageError: an argument is out of its range, or has no effect on this network.
            UserError: there is no such network, or its files do not belong together.
        """
        limits = checked_limits(strength, max_attenuation_db)
        if threads is not None and not (isinstance(threads, numbers.Integral) and threads > 0):
            raise UsageError(f"`threads` must be a whole number above 0. Received: {threads!r}")
        stem = network_files.stem_named(network)
        runtimes.network_path(stem, runtime)
        card = ModelCard.beside(stem)
        check_overlap(window_overlap, card, stem.name)
        threads = runtimes.available_threads() if threads is None else int(threads)
        loaded = runtimes.load_network(stem, card, runtime, threads)
        return cls(loaded, card, limits, window_overlap)

    def enhance(
        self, samples: np.ndarray, rate: float, channel_axis: int | None = None
    ) -> np.ndarray:
        """Remove the noise of a whole recording.

        Args:
            samples: (samples,), or two axes of which `channel_axis` is the channels'; floats in
                -1..1, or uint8, int8, int16 or int32 of full scale.
            rate: samples per second, Hz.
            channel_axis: 0 or -1; required with two axes, since shapes do not tell.

        Returns:
            float32 of the same shape, at the same level.

        Raises:
            UsageError: the shape, type or rate is not one of these.
            UserError: there are NaN or infinite samples.
        """
        rate, sound = check_rate(rate), channels_first(samples, channel_axis)
        meter = levels.LevelMeter(rate, check_channels(len(sound)))
        meter.feed(sound)
        stream = self.stream(rate, len(sound), 0, meter.active_rms(), live=False)
        parts = [
            stream.feed(sound[:, begin : begin + BLOCK_S * rate])
            for begin in range(0, sound.shape[1], BLOCK_S * rate)
        ]
        enhanced = np.concatenate([*parts, stream.flush()], axis=1)
        return _like_input(enhanced, channel_axis)

    def stream(
        self,
        rate: float,
        channels: int = 1,
        channel_axis: int | None = None,
        active_rms: np.ndarray | None = None,
        live: bool = True,
    ) -> StreamingEnhancer:
        """Begin to denoise a recording that comes in blocks.

        Args:
            rate: samples per second, Hz.
            channels: channels of the recording.
            channel_axis: as in `enhance`.
            active_rms: levels of the channels where they are known beforehand (see
                `levels.LevelMeter`); by default the sound is taken to have the network's level.
            live: answer as soon as possible, at some cost in speed.

        Raises:
            UsageError: the network needs whole recordings, and `live` is not false.
        """
        return StreamingEnhancer(self, rate, channels, channel_axis, active_rms, live)


class Changes(NamedTuple):
    """What a network changes in a stretch of sound, each field float32 (channels, samples).

    Args:
        change: what is added to the sound.
        low_band: the sound up to half of the network's rate.
        noise_share: see `blocks.Denoised`.
    """

    change: np.ndarray
    low_band: np.ndarray
    noise_share: np.ndarray

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> Changes:
        """The fields, which were put one below the other (fields * channels, samples)."""
        return cls(*np.split(rows, len(cls._fields)))

    def to_rows(self) -> np.ndarray:
        """The fields one below the other (fields * channels, samples)."""
        return np.concatenate(self)


class StreamingEnhancer:
    """One recording on its way through an `Enhancer`, block by block.

    The joined blocks equal what `Enhancer.enhance` gives, and do not depend on the blocks' sizes.
    A network that streams answers within `n_fft` samples of its own rate, and
    `upper_band.WINDOW_S` later at other rates; one that needs whole windows answers when a window
    is full.

    Args:
        enhancer, rate, channels, channel_axis, active_rms, live: see `Enhancer.stream`.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        rate: float,
        channels: int = 1,
        channel_axis: int | None = None,
        active_rms: np.ndarray | None = None,
        live: bool = True,
    ) -> None:
        rate, own_rate = check_rate(rate), enhancer.card.audio.sample_rate
        self._other_rate = rate != own_rate
        self._channels, self._channel_axis = check_channels(channels), channel_axis
        self._gains = np.ones((channels, 1), np.float32)
        if active_rms is not None:
            gains = levels.gains_to_level(active_rms, enhancer.card.level_dbfs)
            self._gains = gains[:, np.newaxis]
        self._down = Resampler(rate, own_rate, channels)
        self._denoiser = _denoiser(enhancer, rate, channels, live)
        self._up = Resampler(own_rate, rate, len(Changes._fields) * channels)
        self._upper = UpperBand(rate, own_rate, channels)
        self._sound = np.zeros((channels, 0), np.float32)
        self._below = np.zeros((channels, 0), np.float32)  # changed sound, but for the band above
        self._has_ended = False

    def feed(self, block: np.ndarray) -> np.ndarray:
        """Take the next block; gives the denoised samples that are ready, possibly none.

        NaN and infinite samples are taken for silence, since a stream goes on after them.

        Raises:
            UsageError: its shape or type is not that of the recording, or that has ended.
        """
        self._check_open()
        sound = channels_first(block, self._channel_axis)
        if len(sound) != self._channels:
            raise UsageError(f"Blocks must have {self._channels} channels. Received: {len(sound)}")
        if not np.isfinite(sound).all():
            sound = np.where(np.isfinite(sound), sound, np.float32(0))
        self._sound = np.concatenate([self._sound, sound], axis=1)
        denoised = self._denoiser.feed(self._down.feed(sound * self._gains))
        return _like_input(self._applied(denoised), self._channel_axis)

    def flush(self) -> np.ndarray:
        """End the recording; gives the samples that were still on their way.

        Raises:
            UsageError: it has ended before.
        """
        self._check_open()
        self._has_ended = True
        parts = [
            self._applied(self._denoiser.feed(self._down.flush())),
            self._applied(self._denoiser.flush()),
            self._mix(self._up.flush()),
        ]
        if self._other_rate:
            parts.append(self._below - self._upper.flush())
        rest = np.concatenate([*parts, self._sound], axis=1)
        self._sound = self._sound[:, :0]
        return _like_input(rest, self._channel_axis)

    def _check_open(self) -> None:
        """Refuse blocks after the recording has ended."""
        if self._has_ended:
            raise UsageError("This recording has ended; begin another with `Enhancer.stream`")

    def _applied(self, denoised: Denoised) -> np.ndarray:
        """The recording with what a denoiser changes; piece by piece, which bounds the memory."""
        pieces = (
            denoised.part(begin, begin + PIECE) for begin in range(0, denoised.n_samples, PIECE)
        )
        parts = [self._mix(self._up.feed(self._changes(piece).to_rows())) for piece in pieces]
        return np.concatenate([np.zeros((self._channels, 0), np.float32), *parts], axis=1)

    def _changes(self, denoised: Denoised) -> Changes:
        """What a denoiser changes, at the level of the recording."""
        noisy, clean, share = denoised
        return Changes((clean - noisy) / self._gains, noisy / self._gains, share)

    def _mix(self, rows: np.ndarray) -> np.ndarray:
        """Apply rows of `Changes` at the recording's rate to the sound that waits for them."""
        ready = min(rows.shape[1], self._sound.shape[1])
        sound, self._sound = self._sound[:, :ready], self._sound[:, ready:]
        changes = Changes.from_rows(rows[:, :ready])
        if not self._other_rate:
            return sound + changes.change
        removed = self._upper.feed(sound - changes.low_band, changes.noise_share)
        self._below = np.concatenate([self._below, sound + changes.change], axis=1)
        done, self._below = np.split(self._below, [removed.shape[1]], axis=1)
        return done - removed


def _denoiser(enhancer: Enhancer, rate: int, channels: int, live: bool) -> blocks.Denoiser:
    """The stage that fits the kind of network."""
    card = enhancer.card
    top = None
    if rate != card.audio.sample_rate:
        top = blocks.top_band(card.audio, rate)
    common = (enhancer.network, card.features, card.audio, channels, enhancer.limits, top)
    if card.any_length:
        if live:
            raise UsageError(
                "Live sound needs a network that streams, such as `weights/"
                f"{registry.LIVE_NETWORK}`. Received: a `{card.model}` that needs whole recordings"
            )
        per_second = card.audio.sample_rate / card.audio.hop_length_fft
        frames, ahead = (round(seconds * per_second) for seconds in (RUN_S, LOOKAHEAD_S))
        return blocks.FrameDenoiser(*common, frames, ahead)
    if card.streaming:
        size = 1 if live else blocks.FRAMES_PER_RUN
        return blocks.FrameDenoiser(*common, frames_per_run=size)
    size = 1 if live else blocks.BATCH_WINDOWS
    return blocks.WindowDenoiser(*common, batch_windows=size, overlap=enhancer.window_overlap)


def checked_limits(strength: float, max_attenuation_db: float | None) -> GainLimits:
    """`GainLimits` of a user's numbers.

    Raises:
        UsageError: one of them is out of its range.
    """
    if not 0.0 <= strength <= 1.0:
        raise UsageError(f"`strength` must be between 0 and 1. Received: {strength}")
    if max_attenuation_db is not None and not 0.0 <= max_attenuation_db < np.inf:
        raise UsageError(
            f"`max_attenuation_db` must be zero or more decibels. Received: {max_attenuation_db}"
        )
    return GainLimits(strength, max_attenuation_db)


def check_overlap(window_overlap: float | None, card: ModelCard, name: str) -> None:
    """Refuse an overlap of windows that is none, or that the network has no windows for.

    Args:
        window_overlap: what was asked for, if anything.
        card: of the network.
        name: of the network.

    Raises:
        UsageError: it is refused.
    """
    if window_overlap is None:
        return
    if not 0.0 <= window_overlap <= blocks.MOST_OVERLAP:
        raise UsageError(
            f"`window_overlap` must be between 0 and {blocks.MOST_OVERLAP}. "
            f"Received: {window_overlap}"
        )
    if card.streaming or card.any_length:
        raise UsageError(
            "`window_overlap` has an effect on networks that process windows, such as "
            f"model_unet and conv1d. Received: {window_overlap} with {name}, which processes frames"
        )


def check_rate(rate: float) -> int:
    """Refuse a rate that cannot be denoised; whole numbers of the type float are accepted.

    Raises:
        UsageError: it cannot be denoised.
    """
    if not isinstance(rate, numbers.Real) or not MIN_RATE <= rate <= MAX_RATE or rate % 1:
        raise UsageError(
            f"`rate` must be between {MIN_RATE} and {MAX_RATE} Hz, a whole number. Received: {rate}"
        )
    return int(rate)


def check_channels(channels: int) -> int:
    """Refuse a number of channels that cannot be denoised.

    Raises:
        UsageError: it cannot be denoised.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise UsageError(
            f"The number of channels must be between 1 and {MAX_CHANNELS}. Received: {channels}"
        )
    return channels


def channels_first(samples: np.ndarray, channel_axis: int | None) -> np.ndarray:
    """Samples as float32 (channels, samples).

    Raises:
        UsageError: the shape or type is not one of those that `Enhancer.enhance` takes.
    """
    samples = to_float32(_array(samples))
    if samples.ndim == 1 and channel_axis is None:
        return samples[np.newaxis]
    if samples.ndim != 2 or channel_axis not in (0, 1, -1):
        raise UsageError(
            "`samples` must be (samples,) without `channel_axis`, or have two axes of which "
            f"`channel_axis` (0 or -1) is the channels'. Received: shape {samples.shape}, "
            f"channel_axis {channel_axis}"
        )
    return np.moveaxis(samples, channel_axis, 0)


def _like_input(sound: np.ndarray, channel_axis: int | None) -> np.ndarray:
    """The inverse of `channels_first`, as float32."""
    sound = sound.astype(np.float32, copy=False)
    if channel_axis is None:
        return sound[0]
    return np.ascontiguousarray(np.moveaxis(sound, 0, channel_axis))


def _array(samples: Any) -> np.ndarray:
    """Samples as an array.

    Raises:
        UsageError: they are none, such as lists of different lengths.
    """
    try:
        return np.asarray(samples)
    except ValueError as error:
        raise UsageError(f"`samples` must be an array of numbers. Received: {error}") from error


def to_float32(samples: np.ndarray) -> np.ndarray:
    """Floats as they are, integers divided by their full scale.

    Raises:
        UsageError: the samples are neither, or are integers of a type that no recording has, whose
            full scale is anybody's guess.
    """
    if np.issubdtype(samples.dtype, np.floating):
        with np.errstate(over="ignore"):
            return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / 128.0
    if samples.dtype.type in SIGNED:
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    raise UsageError(
        "`samples` must be floats in -1..1, or uint8, int8, int16 or int32 of full scale. "
        f"Received: {samples.dtype}"
    )
