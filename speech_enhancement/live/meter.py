"""How a live denoising keeps up: its latency, its real-time factor, and blocks that were lost."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator

import numpy as np

from speech_enhancement.errors import UsageError
from speech_enhancement.inference.enhancer import Enhancer, StreamingEnhancer
from speech_enhancement.signal import dsp

PROBE_BLOCK_S = 0.001
PROBE_WINDOWS, PROBE_REST_S = 3, 0.5
SHOW_EVERY_S = 1.0
BLOCK_MS = 16.0


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long sound is delayed, and by what.

    Args:
        algorithmic_s: by the network and the sample rate conversion, s.
        block_s: by the blocks that sound comes and goes in, s.
        device_s: by sound devices and what waits for them, s.
    """

    algorithmic_s: float
    block_s: float
    device_s: float = 0.0

    def __str__(self) -> str:
        """The whole latency and its parts, ms."""
        parts = {"algorithmic": self.algorithmic_s, "block": self.block_s, "device": self.device_s}
        shown = " + ".join(f"{1000 * s:.0f} {name}" for name, s in parts.items() if s)
        return f"{1000 * sum(parts.values()):.0f} ms ({shown})"


def block_samples(block_ms: float, rate: int) -> int:
    """Samples in a block.

    Args:
        block_ms: its duration, ms.
        rate: samples per second, Hz.
    """
    return max(1, round(block_ms * rate / 1000))


def active_rms(enhancer: Enhancer, level_dbfs: float | None, channels: int) -> np.ndarray | None:
    """The level of the voice in every channel (channels,), for `Enhancer.stream`.

    Args:
        enhancer: the network.
        level_dbfs: the level, dBFS; unknown if none.
        channels: how many.

    Raises:
        UsageError: a level is given for a network that works at all levels.
    """
    if level_dbfs is None:
        return None
    if enhancer.card.level_dbfs is None:
        raise UsageError(
            "`level_dbfs` only has an effect on networks that were trained at a single level. "
            f"Received: {level_dbfs} for {enhancer.card.model}, which was trained at many"
        )
    return np.full(channels, dsp.db_to_amplitude(level_dbfs), np.float32)


def algorithmic_latency(enhancer: Enhancer, rate: int) -> float:
    """The longest that a stream holds a sample, s, to the millisecond; found by feeding silence.

    Args:
        enhancer: the network.
        rate: samples per second of the stream, Hz.
    """
    audio = enhancer.card.audio
    span = audio.n_fft if enhancer.card.streaming else audio.frame_length
    seconds = PROBE_WINDOWS * span / audio.sample_rate + PROBE_REST_S
    stream = enhancer.stream(rate)
    size = max(1, round(PROBE_BLOCK_S * rate))
    held = longest = 0
    for _ in range(round(seconds * rate / size)):
        longest = max(longest, held)
        held += size - len(stream.feed(np.zeros(size, np.float32)))
    return longest / rate


class MeteredStream:
    """A `StreamingEnhancer` that counts what goes through it, and shows it.

    Args:
        stream: what denoises, its channels first.
        rate: samples per second, Hz.
        latency: of the stream.
    """

    def __init__(self, stream: StreamingEnhancer, rate: int, latency: Latency) -> None:
        self.latency = latency
        self.dropped = 0
        self._stream = stream
        self.rate = rate
        self._samples = 0
        self._busy_s = 0.0
        self._shown = time.monotonic()

    @property
    def audio_s(self) -> float:
        """Sound that came in, s."""
        return self._samples / self.rate

    def feed(self, block: np.ndarray) -> np.ndarray:
        """What the stream gives for a block (channels, samples)."""
        with self._timing():
            result = self._stream.feed(block)
        self._samples += block.shape[1]
        self._show()
        return result

    def flush(self) -> np.ndarray:
        """What the stream still had."""
        with self._timing():
            return self._stream.flush()

    def __str__(self) -> str:
        """All figures in one line."""
        factor = self._busy_s / self.audio_s if self._samples else 0.0
        return (
            f"latency {self.latency}, real-time factor {factor:.3f}, "
            f"{self.dropped} dropped blocks in {self.audio_s:.1f} s"
        )

    def _show(self) -> None:
        """Write the figures over those of a second ago, if someone watches."""
        if sys.stderr.isatty() and time.monotonic() - self._shown > SHOW_EVERY_S:
            print(f"\r{self}", end="", file=sys.stderr, flush=True)
            self._shown = time.monotonic()

    def finish(self) -> None:
        """Write the last figures."""
        print(f"\r{self}" if sys.stderr.isatty() else self, file=sys.stderr)

    @contextlib.contextmanager
    def _timing(self) -> Iterator[None]:
        """Count the time of the block as the network's."""
        begin = time.perf_counter()
        yield
        self._busy_s += time.perf_counter() - begin
