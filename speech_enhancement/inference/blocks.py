"""Stages that take sound in blocks of any size and give back the same samples for every size.

Every stage has `feed(block)` and `flush()`. Blocks are float32 (channels, samples); what comes out
is aligned with what went in, and as long. A denoiser gives `Denoised` sound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soxr

from speech_enhancement.config import AudioConfig
from speech_enhancement.inference.runtime import StreamingNetwork
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Features, Network

TOP_BAND = (0.5, 0.9)  # of the Nyquist frequency that a recording and a network share
HOLD_S = 0.03
OVERLAP, MOST_OVERLAP = 0.25, 0.5  # of a window
BATCH_WINDOWS = 8
FRAMES_PER_RUN = 256
SILENCE_POWER = 1e-12


class Resampler:
    """Sample rate conversion of (rows, samples), without delay, exact for every block size.

    Args:
        rate, new_rate: Hz.
        rows: waveforms that run through it together.
    """

    def __init__(self, rate: int, new_rate: int, rows: int) -> None:
        self._same = rate == new_rate
        self._stream = soxr.ResampleStream(rate, new_rate, rows, "float32", quality="VHQ")
        self._rows = rows

    def feed(self, block: np.ndarray) -> np.ndarray:
        """The samples that are ready after a block (rows, samples)."""
        return block if self._same else self._run(block, last=False)

    def flush(self) -> np.ndarray:
        """The samples that were still inside."""
        nothing = np.zeros((self._rows, 0), np.float32)
        return nothing if self._same else self._run(nothing, last=True)

    def _run(self, block: np.ndarray, last: bool) -> np.ndarray:
        """One call of soxr, which has the rows on its last axis.

        Row by row in memory, for numpy may round differently along strides.
        """
        resampled = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.ascontiguousarray(resampled.T)


@dataclasses.dataclass(frozen=True)
class GainLimits:
    """How much of a network's attenuation is applied.

    Args:
        strength: 0 leaves the sound as it is, 1 does all; in between, the attenuation in dB is
            multiplied by it.
        max_attenuation_db: no time or frequency falls by more, dB; no limit by default.
    """

    strength: float = 1.0
    max_attenuation_db: float | None = None

    def apply(self, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """The clean spectrogram, limited relative to the noisy one."""
        if self.strength == 1.0 and self.max_attenuation_db is None:
            return clean
        is_sound = np.abs(noisy) > dsp.TINY
        change = np.divide(clean, noisy, out=np.ones_like(noisy), where=is_sound)
        gain, phase = np.abs(change) ** self.strength, np.angle(change) * self.strength
        if self.max_attenuation_db is not None:
            gain = np.maximum(gain, dsp.db_to_amplitude(-self.max_attenuation_db))
        return (noisy * gain * np.exp(1j * phase)).astype(np.complex64)


class Denoised(NamedTuple):
    """A stretch of denoised sound, each field float32 (channels, samples) and as long.

    Args:
        noisy: the input of the denoiser.
        clean: the output of its network.
        noise_share: share of noise in the amplitude of the band above the network's, 0..1.
    """

    noisy: np.ndarray
    clean: np.ndarray
    noise_share: np.ndarray

    @property
    def n_samples(self) -> int:
        """Length of the stretch."""
        return self.noisy.shape[-1]

    def part(self, begin: int, end: int | None = None) -> Denoised:
        """The samples from `begin` up to `end`."""
        return Denoised(*(field[..., begin:end] for field in self))

    @classmethod
    def joined(cls, parts: Sequence[Denoised]) -> Denoised:
        """Stretches one after the other."""
        return cls(*(np.concatenate(fields, axis=-1) for fields in zip(*parts, strict=True)))

    @classmethod
    def nothing(cls, channels: int) -> Denoised:
        """Sound without any samples."""
        return cls(*(np.zeros((channels, 0), np.float32) for _ in cls._fields))


class Denoiser:
    """What both kinds of denoiser share: they give back exactly as many samples as came in.

    Args:
        features, audio: from the network's card.
        channels: channels of the sound.
        limits: how much of the denoising is done.
        top: bins that speak for the band above the network's; none if there is no such band.
        lead: samples that a subclass puts before the sound, which are not given back.
    """

    def __init__(
        self,
        features: Features,
        audio: AudioConfig,
        channels: int,
        limits: GainLimits,
        top: slice | None,
        lead: int,
    ) -> None:
        self._features, self._audio = features, audio
        self._limits, self._top = limits, top
        self._hold = round(HOLD_S * audio.sample_rate / audio.hop_length_fft)
        self._channels = channels
        self._sound = np.zeros((channels, 0), np.float32)
        self._fed = self._owed = 0
        self._lead = self._skip = lead

    def feed(self, block: np.ndarray) -> Denoised:
        """What is final after a block (channels, samples)."""
        self._fed += block.shape[1]
        self._owed += block.shape[1]
        self._sound = np.concatenate([self._sound, block], axis=1)
        return self._trimmed(self._whole_batches())

    def flush(self) -> Denoised:
        """What is left up to the end of the sound."""
        return self._trimmed(self._rest() if self._fed else [])

    def _whole_batches(self) -> list[Denoised]:
        """All batches that are complete."""
        raise NotImplementedError

    def _rest(self) -> list[Denoised]:
        """What is left at the end, at least to the last sample."""
        raise NotImplementedError

    def _trimmed(self, parts: list[Denoised]) -> Denoised:
        """The parts joined, without the lead and without what lies beyond the sound's end."""
        denoised = Denoised.joined([Denoised.nothing(self._channels), *parts])
        skip = min(self._skip, denoised.n_samples)
        denoised = denoised.part(skip, skip + self._owed)
        self._skip -= skip
        self._owed -= denoised.n_samples
        return denoised

    def _noise_shares(self, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """`noise_share` of spectrograms (batch, bins, frames); zero if it is not needed."""
        if self._top is None:
            return np.zeros((len(noisy), noisy.shape[-1]), np.float32)
        return noise_share(noisy[:, self._top], clean[:, self._top])


class WindowDenoiser(Denoiser):
    """Overlapping windows through a network that processes a whole window at a time.

    Windows lie on a fixed grid of `frame_length - overlap` samples. Where two overlap, one fades
    into the other; near a window's own edges, where its spectrogram lacks the neighbourhood, it
    has no weight. Without overlap, windows are put end to end, which can be heard as clicks. The
    recording is mirrored at both ends; the last window lies at its very end.

    Args:
        network: batch of windows in, batch out.
        features, audio, channels, limits, top: see `Denoiser`.
        batch_windows: windows in one call of the network.
        overlap: share of a window that overlaps the next one, 0..`MOST_OVERLAP`.
    """

    def __init__(
        self,
        network: Network,
        features: Features,
        audio: AudioConfig,
        channels: int,
        limits: GainLimits,
        top: slice | None,
        batch_windows: int = BATCH_WINDOWS,
        overlap: float = OVERLAP,
    ) -> None:
        hop, lead = audio.hop_length_fft, lead_of(audio)
        super().__init__(features, audio, channels, limits, top, lead)
        self._network = network
        self._batch = max(1, batch_windows // channels)
        self._length = audio.frame_length
        common = int(overlap * self._length) // hop * hop
        self._step = self._length - common
        self._fade = fade_in(common, min(lead, common // 4))
        self._window = 0  # where in `_sound` the next window of the grid begins
        self._tail = Denoised.nothing(channels)  # the end of the last window, before it fades
        self._mirrored = False

    def _whole_batches(self) -> list[Denoised]:
        """See `Denoiser`."""
        span = (self._batch - 1) * self._step + self._length
        parts = []
        while self._sound.shape[1] + (not self._mirrored) * self._lead >= self._window + span:
            self._mirror_beginning()
            parts += self._denoise(self._window + self._step * np.arange(self._batch))
            self._forget()
        return parts

    def _rest(self) -> list[Denoised]:
        """See `Denoiser`: the rest of the grid, one window at the very end, and its tail."""
        self._mirror_beginning()
        hop = self._audio.hop_length_fft
        beyond = self._sound.shape[1] + self._lead - self._length
        last = max(0, -(-beyond // hop) * hop)
        self._sound = mirror(self._sound, 0, last + self._length - self._sound.shape[1])
        parts = self._denoise(np.append(np.arange(self._window, last, self._step), last))
        return [*parts, self._tail]

    def _mirror_beginning(self) -> None:
        """Put the lead before the sound, once."""
        if not self._mirrored:
            self._sound = mirror(self._sound, self._lead, 0)
            self._mirrored = True

    def _forget(self) -> None:
        """Drop the sound that no later window can reach; the last one may reach back a step."""
        passed = max(0, self._window - self._step)
        self._sound = self._sound[:, passed:]
        self._window -= passed

    def _denoise(self, starts: np.ndarray) -> list[Denoised]:
        """The windows that begin at `starts`, without the last one's overlap."""
        windows = np.concatenate([self._sound[:, s : s + self._length] for s in starts])
        # (windows * channels, length) -> (windows, channels, length)
        shape = len(starts), self._channels, self._length
        fields = [field.reshape(shape) for field in self._denoise_windows(windows)]
        return [
            self._join(Denoised(*(field[k] for field in fields)), start)
            for k, start in enumerate(starts)
        ]

    def _denoise_windows(self, windows: np.ndarray) -> Denoised:
        """Denoised windows (windows, length)."""
        noisy, clean = self._features.spectra(windows, self._network, self._audio)
        clean = self._limits.apply(noisy, clean)
        shares = hold(self._noise_shares(noisy, clean), self._hold, self._hold)
        return Denoised(
            windows,
            dsp.istft(clean, self._audio, self._length),
            dsp.frames_to_samples(shares, self._audio, self._length),
        )

    def _join(self, window: Denoised, start: int) -> Denoised:
        """Fade from the window before into this one; gives what no later window touches."""
        offset = self._window - start  # only the last window begins before its place on the grid
        self._window = start + self._step
        window = window.part(offset)
        overlap = self._tail.n_samples  # none before the first window
        fade = self._fade[:overlap]
        both = zip(self._tail, window.part(0, overlap), strict=True)
        faded = Denoised(*(before * fade[::-1] + after * fade for before, after in both))
        window = Denoised.joined([faded, window.part(overlap)])
        final = self._step - offset
        self._tail = window.part(final)
        return window.part(0, final)


class FrameDenoiser(Denoiser):
    """STFT frames, one after the other, through a network that carries a state.

    Behind a causal network, a sample is given back as soon as the last STFT window that touches it
    is complete: at most `n_fft` samples after it came in. A network that is bidirectional in time
    is given frames that follow as well, and its answer to them is dropped: what went before reaches
    it whole, in its state, and what follows as far as it looks ahead. Where the sound ends, or is
    no longer than one call, nothing is dropped.

    Args:
        network: a network with a state; each channel has its own.
        features, audio, channels, limits, top: see `Denoiser`.
        frames_per_run: frames that one call of the network finishes; many are fast, one answers
            soonest.
        lookahead: frames that it is given beyond them.
    """

    def __init__(
        self,
        network: StreamingNetwork,
        features: Features,
        audio: AudioConfig,
        channels: int,
        limits: GainLimits,
        top: slice | None,
        frames_per_run: int = FRAMES_PER_RUN,
        lookahead: int = 0,
    ) -> None:
        super().__init__(features, audio, channels, limits, top, lead=audio.n_fft // 2)
        self._network = network
        self._frames_per_run, self._lookahead = frames_per_run, lookahead
        self._frames_done = 0
        self._states = [network.initial_state() for _ in range(channels)]
        self._sound = np.zeros((channels, self._lead), np.float32)
        self._window = dsp.stft_window(audio.window, audio.n_fft)
        self._carry = np.zeros((2 * channels + 1, audio.n_fft - audio.hop_length_fft), np.float32)
        self._shares = np.ones((channels, self._hold), np.float32)

    def _whole_batches(self) -> list[Denoised]:
        """See `Denoiser`."""
        parts = []
        while self._sound.shape[1] >= self._span(self._frames_per_run + self._lookahead):
            parts.append(self._denoise(self._frames_per_run))
        return parts

    def _rest(self) -> list[Denoised]:
        """See `Denoiser`: the frames that are left, and the end of the last one."""
        left = self._audio.frames_of(self._fed) - self._frames_done
        missing = max(0, self._span(left) - self._sound.shape[1])
        self._sound = np.pad(self._sound, [(0, 0), (0, missing)])
        parts = []
        while left > 0:
            fits = left <= self._frames_per_run + self._lookahead
            n_frames = left if fits else self._frames_per_run
            parts.append(self._denoise(n_frames))
            left -= n_frames
        end = np.pad(self._sound, [(0, 0), (0, self._carry.shape[1])])[:, : self._carry.shape[1]]
        return [*parts, self._denoised(end, self._carry)]

    def _span(self, n_frames: int) -> int:
        """Samples that `n_frames` frames cover."""
        return (n_frames - 1) * self._audio.hop_length_fft + self._audio.n_fft

    def _denoise(self, n_frames: int) -> Denoised:
        """The next frames, as far as no later frame touches them."""
        hop = self._audio.hop_length_fft
        noisy, clean = self._spectra(n_frames)
        shares = self._held_shares(noisy, clean, n_frames)[..., np.newaxis] * self._window**2
        clean = clean[..., :n_frames]
        frames = np.fft.irfft(np.swapaxes(clean, -1, -2), n=self._audio.n_fft, axis=-1)
        weight = np.broadcast_to(self._window**2, (1, n_frames, self._audio.n_fft))
        total = dsp.overlap_add(np.concatenate([frames * self._window, shares, weight]), hop)
        total[:, : self._carry.shape[1]] += self._carry
        done = n_frames * hop
        denoised = self._denoised(self._sound[:, :done], total[:, :done])
        self._carry = total[:, done:]
        self._sound = self._sound[:, done:]
        self._frames_done += n_frames
        return denoised

    def _held_shares(self, noisy: np.ndarray, clean: np.ndarray, n_frames: int) -> np.ndarray:
        """Noise shares (channels, frames), held before as far as is looked ahead, and after."""
        shares = np.concatenate([self._shares, self._noise_shares(noisy, clean)], axis=-1)
        self._shares = shares[:, n_frames : n_frames + self._hold]
        ahead = min(self._hold, self._lookahead)
        return hold(shares, self._hold, ahead)[:, self._hold : self._hold + n_frames]

    def _spectra(self, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Spectrograms (channels, bins, frames) of the next frames and of those looked ahead at."""
        sound = self._sound[:, : self._span(n_frames + self._lookahead)]
        frames = np.lib.stride_tricks.sliding_window_view(sound, self._audio.n_fft, axis=-1)
        frames = frames[:, :: self._audio.hop_length_fft] * self._window
        noisy = np.swapaxes(np.fft.rfft(frames, axis=-1), -1, -2)
        spectra = self._features.network_input(noisy, self._audio)
        outputs = []
        for channel, state in enumerate(self._states):
            output, self._states[channel] = self._network.step(
                spectra[channel][np.newaxis], state, n_frames
            )
            outputs.append(output)
        clean = self._features.estimate(noisy, np.concatenate(outputs))
        return noisy, self._limits.apply(noisy, clean)

    def _denoised(self, sound: np.ndarray, total: np.ndarray) -> Denoised:
        """A stretch of sound with the overlap-added frames, shares and weights over it."""
        channels = self._channels
        clean, share = total[:-1].reshape(2, channels, -1) / np.maximum(total[-1], dsp.TINY)
        fields = (field.astype(np.float32, copy=False) for field in (sound, clean, share))
        return Denoised(*fields)


def lead_of(audio: AudioConfig) -> int:
    """Samples of the first window that lie before the sound: whole hops, half an STFT at least."""
    return -(-(audio.n_fft // 2) // audio.hop_length_fft) * audio.hop_length_fft


def top_band(audio: AudioConfig, rate: int) -> slice:
    """Bins of the highest band that both a recording of `rate` Hz and a network have."""
    nyquist = min(rate, audio.sample_rate) / 2
    low, high = (round(part * nyquist * audio.n_fft / audio.sample_rate) for part in TOP_BAND)
    return slice(low, max(high, low + 1))


def noise_share(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """How much of the amplitude of a band (..., bins, frames) was taken as noise, 0..1."""
    before, after = band_power(noisy), band_power(clean)
    return 1.0 - np.sqrt(np.minimum((after + SILENCE_POWER) / (before + SILENCE_POWER), 1.0))


def band_power(spectrogram: np.ndarray) -> np.ndarray:
    """Sum of the power over bins, (..., frames).

    Squares of the parts and a sum in double precision: numpy's magnitude of complex numbers may
    round differently from one place in memory to another.
    """
    real, imaginary = spectrogram.real.astype(np.float64), spectrogram.imag.astype(np.float64)
    return (real**2 + imaginary**2).sum(axis=-2).astype(np.float32)


def hold(shares: np.ndarray, before: int, after: int) -> np.ndarray:
    """The least of each noise share (..., frames) and of its neighbours.

    A sibilant begins and ends more softly in the top band than above it; what is let through there
    is let through a little sooner and longer here.
    """
    padding = [(0, 0)] * (shares.ndim - 1) + [(before, after)]
    padded = np.pad(shares, padding, constant_values=1.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, before + after + 1, axis=-1)
    return windows.min(axis=-1)


def mirror(sound: np.ndarray, before: int, after: int) -> np.ndarray:
    """Extend (..., samples) by its own reflection, over and over where it is shorter than that."""
    period = max(1, 2 * (sound.shape[-1] - 1))
    position = np.arange(-before, sound.shape[-1] + after) % period
    return sound[..., np.minimum(position, period - position)]


def fade_in(length: int, margin: int) -> np.ndarray:
    """A raised cosine from 0 to 1, float32 (length,), flat for `margin` samples at both ends."""
    ramp = (np.arange(length) - margin + 0.5) / max(1, length - 2 * margin)
    return (0.5 - 0.5 * np.cos(np.pi * np.clip(ramp, 0.0, 1.0))).astype(np.float32)
