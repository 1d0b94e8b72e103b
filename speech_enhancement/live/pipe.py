"""Denoises raw samples from one stream of bytes to another, as soon as the network gives them.

>>> from speech_enhancement import Enhancer, RawFormat, stream_pipe
>>> raw = RawFormat.parse("s16,16000")
>>> stream_pipe(Enhancer.load("dpcrn"), sys.stdin.buffer, sys.stdout.buffer, raw)
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, TypeVar

import numpy as np

from speech_enhancement.files.audio_files import RawFormat
from speech_enhancement.inference.enhancer import (
    Enhancer,
    StreamingEnhancer,
    check_channels,
    check_rate,
)
from speech_enhancement.live.meter import (
    BLOCK_MS,
    Latency,
    MeteredStream,
    active_rms,
    algorithmic_latency,
    block_samples,
)

Item = TypeVar("Item")

READ_BYTES = 2**16


def stream_pipe(
    enhancer: Enhancer,
    source: BinaryIO,
    sink: BinaryIO,
    raw: RawFormat,
    block_ms: float = BLOCK_MS,
    level_dbfs: float | None = None,
) -> None:
    """Denoise raw samples until they end or the user stops it; figures go to stderr.

    Args:
        enhancer: the network and its settings.
        source: where raw samples come from.
        sink: where as many of them go.
        raw: how samples are stored.
        block_ms: duration of a block of sound, ms.
        level_dbfs: level of the voice, dBFS; by default that of the network's training.

    Raises:
        UsageError: the network cannot work at that rate or with so many channels, or works at all
            levels although one is given.
    """
    rate, channels = check_rate(raw.sample_rate), check_channels(raw.channels)
    block = block_samples(block_ms, rate)
    stream = MeteredStream(
        enhancer.stream(rate, channels, 0, active_rms(enhancer, level_dbfs, channels)),
        rate,
        Latency(algorithmic_latency(enhancer, rate), block / rate),
    )
    try:
        denoise_samples(stream, source, sink, raw, block * raw.frame_bytes)
    finally:
        stream.finish()


def denoise_samples(
    stream: StreamingEnhancer | MeteredStream,
    source: BinaryIO,
    sink: BinaryIO,
    raw: RawFormat,
    read_bytes: int = READ_BYTES,
) -> None:
    """Denoise until the source ends, or the user stops it: what came in is written to its end.

    Args:
        stream: what denoises, its channels first.
        source: where raw samples come from.
        sink: where as many of them go.
        raw: how samples are stored.
        read_bytes: the most to read at a time.
    """
    rest = b""

    def read() -> bytes | None:
        return source.read1(read_bytes) or None  # type: ignore[attr-defined]

    with contextlib.closing(until_stopped(read)) as parts:
        for part in parts:
            data = rest + part
            whole = len(data) // raw.frame_bytes * raw.frame_bytes
            rest = data[whole:]
            _send(sink, raw, stream.feed(raw.decode(data[:whole])))
        _send(sink, raw, stream.flush())


def _send(sink: BinaryIO, raw: RawFormat, block: np.ndarray) -> None:
    """Write a block (channels, samples) without waiting for more."""
    sink.write(raw.encode(block))
    sink.flush()


def until_stopped(read: Callable[[], Item | None]) -> Generator[Item, None, None]:
    """What `read` gives, until it gives none or the user stops the process.

    A stop breaks off a `read` that waits, but never what is done with what it gave.
    """
    waiting = stopped = False

    def handle(*_: Any) -> None:
        nonlocal stopped
        stopped = True
        if waiting:
            raise KeyboardInterrupt

    with _handling_signals(handle):
        while not stopped:
            try:
                waiting = True
                item = read()
            except KeyboardInterrupt:
                return
            finally:
                waiting = False
            if item is None:
                return
            yield item


@contextlib.contextmanager
def _handling_signals(handle: Callable[..., None]) -> Iterator[None]:
    """Have a function take the signals that stop this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
