"""What the process of a command has around its work: streams to write to, and answers to stops."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import types
from collections.abc import Iterator
from typing import BinaryIO

from speech_enhancement.errors import UserError

STOPS = (signal.SIGINT, signal.SIGTERM)
# Modules whose functions native code calls, and how their names begin: imports, and what libsndfile
# reads with.
CALLED_BY_NATIVE_CODE = {"importlib._bootstrap": "", "soundfile": "vio_"}
# How long a stop waits before it looks again whether native code has returned, seconds.
AGAIN_S = 0.02


def open_streams() -> None:
    """Have standard streams that were closed lead nowhere, where they would be `None`.

    Otherwise the next file that is opened takes their number, and whatever a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115 (they stay open)
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def pipe() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, as bytes.

    Raises:
        UserError: one of them was closed when the process began.
    """
    if sys.stdin is None:
        raise UserError("There is no standard input to read")
    if sys.__stdout__ is None:
        raise UserError("There is no standard output to write")
    return sys.stdin.buffer, sys.stdout.buffer


@contextlib.contextmanager
def answering_stops() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at Ctrl-C and SIGTERM; afterwards they end the process in silence.

    The first of them waits until what native code called has returned: modules make of an interrupt
    whatever error they raise when they cannot be loaded, and libraries forget it.
    """
    waiting = False

    def answer(number: int, frame: types.FrameType | None) -> None:
        nonlocal waiting
        is_new = number in STOPS
        if has_timer and _is_called_by_native_code(frame) and not (waiting and is_new):
            waiting = True
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            return
        if has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        waiting = False
        raise KeyboardInterrupt

    has_timer = hasattr(signal, "setitimer")
    for number in (*STOPS, signal.SIGALRM) if has_timer else STOPS:
        signal.signal(number, answer)
    try:
        yield
    finally:
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)


def _is_called_by_native_code(frame: types.FrameType | None) -> bool:
    """Whether what runs in a frame was called by code that would not pass an exception on."""
    while frame is not None:
        begin = CALLED_BY_NATIVE_CODE.get(frame.f_globals.get("__name__", ""))
        if begin is not None and frame.f_code.co_name.startswith(begin):
            return True
        frame = frame.f_back
    return False
