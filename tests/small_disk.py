"""A disk that is full after some bytes of each file, by the limit that the system has for files."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

FULL = "File too large"  # where a full disk says "No space left on device"


@contextlib.contextmanager
def of(n_bytes: int) -> Iterator[None]:
    """Let no file of this process become larger while the block runs."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
