"""Denoises raw samples from one stream of bytes to another, as soon as the network gives them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, TypeVar

import numpy as np

from speech_enhancement.files.audio_files import RawFormat
from speech_enhancement.inference.enhancer import StreamingEnhancer
from speech_enhancement.live.meter import MeteredStream

Item = TypeVar("Item")

READ_BYTES = 2**16


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
