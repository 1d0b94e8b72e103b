"""Denoises a microphone to a speaker, or to a virtual device that other programs listen to.

The sound card calls back for every block and must never wait: it leaves what it recorded and takes
what is ready. The network works in between, in the main thread. Sound is played a fixed time after
it was recorded. What is not ready by then is replaced by silence, and left out when it comes;
so are blocks for which the network has no time.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.inference.enhancer import Enhancer, check_rate
from speech_enhancement.live.meter import (
    BLOCK_MS,
    Latency,
    MeteredStream,
    active_rms,
    algorithmic_latency,
    block_samples,
)
from speech_enhancement.live.pipe import until_stopped

QUEUE_BLOCKS = 64
SILENT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where sound comes from and goes to.

    Args:
        source, sink: name or number of a device; the system's default if none.
        rate: of both, Hz; by default that of the network if it is causal, and otherwise that of the
            source.
        channels: of both.
        block_ms: time between two calls of the sound card, ms.
    """

    source: str | int | None = None
    sink: str | int | None = None
    rate: int | None = None
    channels: int = 1
    block_ms: float = BLOCK_MS

    def rate_for(self, enhancer: Enhancer) -> int:
        """The rate, Hz; by default that of a causal network, as a conversion would hold sound.

        Raises:
            UsageError: a network cannot work at it.
            UserError: there is no such device.
        """
        if self.rate is None and enhancer.card.streaming:
            return check_rate(enhancer.card.audio.sample_rate)
        return check_rate(self.rate or default_rate(self.source))


class BlockExchange:
    """What a sound card has recorded and will play, shared with the thread that denoises.

    Args:
        channels: channels of the sound.
        latency: samples between what is recorded and what is played.
    """

    def __init__(self, channels: int, latency: int) -> None:
        self._recorded: queue.Queue[np.ndarray] = queue.Queue(QUEUE_BLOCKS)
        self._ready = collections.deque([np.zeros((channels, latency), np.float32)])
        self._n_ready = latency
        self._late = 0  # samples that were played as silence in place of what is still to come
        self._lock = threading.Lock()
        self._channels = channels
        self.dropped = 0

    def swap(self, recorded: np.ndarray) -> np.ndarray:
        """Leave a block (channels, samples) and take one as long; never waits."""
        n_samples = recorded.shape[1]
        with self._lock:
            try:
                self._recorded.put_nowait(recorded)
            except queue.Full:
                self.dropped += 1
                self._append(np.zeros_like(recorded))
            played = self._take(min(n_samples, self._n_ready))
            missing = n_samples - played.shape[1]
            self._late += missing
            self.dropped += missing > 0
        return np.pad(played, [(0, 0), (0, missing)])

    def next(self) -> np.ndarray:
        """The next block that was recorded; waits for it.

        Raises:
            UserError: the device gives no more.
        """
        try:
            return self._recorded.get(timeout=SILENT_S)
        except queue.Empty as error:
            raise UserError("The sound device no longer delivers sound") from error

    def add(self, block: np.ndarray) -> None:
        """Have a block (channels, samples) played, without what comes too late."""
        with self._lock:
            late = min(self._late, block.shape[1])
            self._late -= late
            self._append(block[:, late:])

    def _append(self, block: np.ndarray) -> None:
        """Append a block to what is ready to be played."""
        self._ready.append(block)
        self._n_ready += block.shape[1]

    def _take(self, n_samples: int) -> np.ndarray:
        """Remove the first samples that are ready."""
        parts, left = [np.zeros((self._channels, 0), np.float32)], n_samples
        while left:
            block = self._ready.popleft()
            if block.shape[1] > left:
                self._ready.appendleft(block[:, left:])
            parts.append(block[:, :left])
            left -= parts[-1].shape[1]
        self._n_ready -= n_samples
        return np.concatenate(parts, axis=1)


def stream_devices(
    enhancer: Enhancer,
    devices: Devices | None = None,
    level_dbfs: float | None = None,
    duration_s: float | None = None,
) -> None:
    """Denoise from one device to another until the user stops it; figures go to stderr.

    Args:
        enhancer: the network and its settings.
        devices: what to listen to and to play on; by default the system's.
        level_dbfs: level of the voice, dBFS; by default that of the network's training.
        duration_s: stop after that; never by default.

    Raises:
        UsageError: the network cannot work at that rate, or works at all levels although one is
            given.
        UserError: a device is missing, or does not work in that way.
    """
    devices = devices or Devices()
    rate = devices.rate_for(enhancer)
    block = block_samples(devices.block_ms, rate)
    latency = Latency(algorithmic_latency(enhancer, rate), block / rate)
    levels = active_rms(enhancer, level_dbfs, devices.channels)
    print(f"Denoising with {latency} of latency; press Ctrl-C to stop", file=sys.stderr)
    stream = MeteredStream(enhancer.stream(rate, devices.channels, 0, levels), rate, latency)
    # A further block is held for the network's work.
    held = round(latency.algorithmic_s * rate) + 2 * block
    _exchange_blocks(devices, stream, BlockExchange(devices.channels, held), block, duration_s)
    stream.finish()


def _exchange_blocks(
    devices: Devices,
    stream: MeteredStream,
    exchange: BlockExchange,
    block_size: int,
    duration_s: float | None,
) -> None:
    """Denoise what the sound card records, and have it played.

    Raises:
        UserError: a device is missing, or does not work in that way.
    """

    def read() -> np.ndarray | None:
        is_over = duration_s is not None and stream.audio_s >= duration_s
        return None if is_over else exchange.next()

    with open_devices(devices, exchange, stream.rate, block_size) as card:
        in_devices_s = sum(card.latency) + block_size / stream.rate
        stream.latency = dataclasses.replace(stream.latency, device_s=in_devices_s)
        with contextlib.closing(until_stopped(read)) as blocks:
            for block in blocks:
                exchange.add(stream.feed(block))
                stream.dropped = exchange.dropped


@contextlib.contextmanager
def open_devices(
    devices: Devices, exchange: BlockExchange, rate: int, block_size: int
) -> Iterator[Any]:
    """The sound card, as a context in which it calls back.

    Raises:
        UserError: a device is missing, or does not work in that way.
    """
    sounddevice = import_sounddevice()
    with contextlib.ExitStack() as stack:
        try:
            card = stack.enter_context(
                sounddevice.Stream(
                    samplerate=rate,
                    blocksize=block_size,
                    device=(devices.source, devices.sink),
                    channels=devices.channels,
                    dtype="float32",
                    callback=callback_of(exchange),
                )
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise UserError(f"Cannot open the sound devices: {first_line(error)}") from error
        yield card


def callback_of(exchange: BlockExchange) -> Callable[..., None]:
    """What a sound card calls for every block; its samples come first, channels last."""

    def callback(
        recorded: np.ndarray, played: np.ndarray, _n: int, _time: Any, status: Any
    ) -> None:
        if status.input_overflow or status.output_underflow:
            exchange.dropped += 1
        played[:] = exchange.swap(recorded.T.copy()).T

    return callback


def default_rate(source: str | int | None) -> int:
    """The rate of a device to listen to, Hz.

    Raises:
        UserError: there is no such device.
    """
    return round(_query(source, "input")["default_samplerate"])


def list_devices() -> str:
    """The devices of this machine: number, name, system, channels in and out.

    Raises:
        UserError: they cannot be listed.
    """
    return str(_query() or "There are no sound devices")


def _query(*arguments: Any) -> Any:
    """What PortAudio knows of devices."""
    sounddevice = import_sounddevice()
    try:
        return sounddevice.query_devices(*arguments)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(f"Cannot find the sound device: {first_line(error)}") from error


def import_sounddevice() -> Any:
    """The library for sound devices, which is optional.

    Raises:
        UserError: it is not installed, or PortAudio is not.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise UserError(
            f"Sound devices need `{places.install_command('extra')}`; a pipe does not"
        ) from error
    except OSError as error:
        raise UserError(
            "Sound devices need the PortAudio library, `apt install libportaudio2` on Debian"
        ) from error
    return sounddevice


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
