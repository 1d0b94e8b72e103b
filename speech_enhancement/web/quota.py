"""How much sound the web page keeps on its disk, of one visitor and of all."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

BYTES_PER_MB = 1_000_000
# A visitor's part of what is kept of all.
SHARE = 0.25


class Quota:
    """Counts what visitors sent and what was made of it, until it is deleted.

    Args:
        folder: where all of it lies.
        most: bytes that may lie there.
        keep_s: seconds after which it is deleted at the latest.
        now: a clock, seconds.
    """

    def __init__(
        self, folder: Path, most: int, keep_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._most, self._keep_s, self._now = folder, most, keep_s, now
        self._taken: dict[str, collections.deque[tuple[float, int]]] = {}
        self._lock = threading.Lock()

    def take(self, visitor: str, size: int) -> str | None:
        """Note that a visitor needs room.

        Args:
            visitor: who.
            size: bytes.

        Returns:
            A sentence if there is none, and nothing was noted.
        """
        with self._lock:
            if self._of(visitor) + size > SHARE * self._most:
                return (
                    f"You may keep {SHARE * self._most / BYTES_PER_MB:.0f} MB here at a time; "
                    "try again in an hour"
                )
            if max(self._on_disk(), self._of_all()) + size > self._most:
                return "There is no room for more recordings now; try again later"
            self._taken.setdefault(visitor, collections.deque()).append((self._now(), size))
        return None

    def _of(self, visitor: str) -> int:
        """Bytes that a visitor used recently."""
        entries = self._taken.get(visitor)
        if entries is None:
            return 0
        while entries and entries[0][0] < self._now() - self._keep_s:
            entries.popleft()
        if not entries:
            del self._taken[visitor]
        return sum(size for _, size in entries)

    def _of_all(self) -> int:
        """Bytes that all visitors used recently, including uploads that have not ended."""
        return sum(self._of(visitor) for visitor in list(self._taken))

    def _on_disk(self) -> int:
        """Bytes that lie in the folder."""
        total = 0
        for path in self._folder.rglob("*"):
            with contextlib.suppress(OSError):  # it may be deleted just now
                total += path.lstat().st_size
        return total
