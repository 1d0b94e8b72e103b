"""Scores systems on recordings: one row for each file and system, kept as soon as it is made.

A system is something with `enhance(samples, rate) -> samples`, or a folder of its results. What
needs a clean recording is scored at the rate of the evaluation; what needs none, at the recording's
own rate, so that it is the same whether there is a clean recording or not.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speech_enhancement import registry
from speech_enhancement.corpora import pairs as pairing
from speech_enhancement.corpora.pairs import Pair, Scored
from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_io, workers
from speech_enhancement.files.audio_files import Recording, has_risky_decoder
from speech_enhancement.files.journal import Journal
from speech_enhancement.files.json_files import (
    any_number,
    anything,
    number,
    optional,
    record,
    table,
    text,
)
from speech_enhancement.scoring.frames import Unscorable
from speech_enhancement.scoring.systems import System
from speech_enhancement.signal import dsp

Row = dict[str, Any]

MANNER = 2  # of scoring; rows of an earlier run that scored in another one are not used
ROW = record({"key": text(), "file": text(), "system": text()})
FAILURE = record({"error": text()})
SCORED = record(
    {
        "scores": table(any_number),
        "unscored": table(text()),
        "snr_db": optional(number()),
        "class": anything,
    },
    {"remark": text()},
)


def _row(value: Any, place: str) -> None:
    """Check a row that was read from a file."""
    ROW(value, place)
    (FAILURE if "error" in value else SCORED)(value, place)


class Compared(NamedTuple):
    """What is compared with a clean recording, float32 (samples,) each, of one length.

    Args:
        clean: the clean recording.
        noisy, estimate: before and after a system.
        rate: Hz.
        remark: what was done to align them.
    """

    clean: np.ndarray
    noisy: np.ndarray
    estimate: np.ndarray
    rate: int
    remark: str | None = None


class Sound(NamedTuple):
    """A recording as it is: float32 (samples,), and its rate in Hz."""

    samples: np.ndarray
    rate: int


@dataclasses.dataclass(frozen=True)
class Scorer:
    """How recordings are scored; the same for all systems of a report.

    Args:
        rate: Hz that pairs are brought to, denoised and compared at; a peer receives a recording at
            the recording's own rate. None where there are no clean recordings.
        metrics: names in `registry.METRICS`. Those that need no clean recording are of every
            recording, and of what a system makes of it, at the recording's own rate.
    """

    rate: int | None
    metrics: tuple[str, ...]

    def row(self, pair: Scored, system: System) -> Row:
        """Scores of one system on one pair; an error in place of them if it cannot be had."""
        row: Row = {"file": pair.name, "system": system.name, "key": self.key(pair, system)}
        alone = [name for name in self.metrics if name in registry.REFERENCE_FREE]
        try:
            compared = self.compared(pair, system) if isinstance(pair, Pair) else None
            result = result_of(pair, system, compared) if alone else None
        except UserError as error:
            return row | {"error": str(error)}
        row |= {"snr_db": pair.snr_db, "class": pair.noise_class, "scores": {}, "unscored": {}}
        if compared is not None:
            row |= self._comparison(compared, pair.snr_db)
        if result is not None:
            scores, unscored = score(None, *result, alone)
            row["scores"] |= scores
            row["unscored"] |= unscored
        return row

    def _comparison(self, compared: Compared, snr_db: float | None) -> Row:
        """The part of a row that needs a clean recording; the SNR is measured if none is given."""
        names = [name for name in self.metrics if name not in registry.REFERENCE_FREE]
        clean, noisy, estimate, rate, remark = compared
        scores, unscored = score(clean, estimate, rate, names)
        if snr_db is None:
            snr_db = input_snr_db(clean, noisy, rate)
        known = {"snr_db": snr_db, "scores": scores, "unscored": unscored}
        return known | ({"remark": remark} if remark else {})

    def failure(self, pair: Scored, system: System, reason: str) -> Row:
        """The row of a pair that cannot be scored."""
        key = self.key(pair, system)
        sentence = f"Cannot score {pair.noisy}: {reason}"
        return {"file": pair.name, "system": system.name, "key": key, "error": sentence}

    def compared(self, pair: Pair, system: System) -> Compared:
        """A pair before and after a system, at the rate of the comparison; channels are averaged.

        Raises:
            UserError: a recording cannot be read or denoised.
        """
        sound, own_rate = audio_io.load_audio(pair.noisy)
        rate = self.rate or own_rate
        clean, _ = audio_io.load_audio(pair.clean, rate)
        noisy = dsp.resample(sound, own_rate, rate)
        clean, noisy, remark = pairing.align(clean, noisy, rate)
        if system.kind == "noisy":
            return Compared(clean, noisy, noisy, rate, remark)
        if system.kind not in ("folder", "peer"):
            return Compared(clean, noisy, made(system).enhance(noisy, rate), rate, remark)
        if system.kind == "folder":
            estimate, _ = audio_io.load_audio(pair.enhanced[system.name], rate)
        else:
            estimate = made(system).enhance(sound, own_rate)
            estimate = dsp.resample(estimate, own_rate, rate)
        both = np.stack([clean, noisy])
        (clean, noisy), estimate, moved = pairing.align(both, estimate, rate)
        return Compared(clean, noisy, estimate, rate, moved or remark)

    def key(self, pair: Scored, system: System) -> str:
        """Digest of all that a row depends on, for resuming."""
        paths = [pair.noisy] if pair.clean is None else [pair.clean, pair.noisy]
        if system.kind == "folder":
            paths.append(pair.enhanced[system.name])
        files = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        parts = {
            "manner": MANNER,
            "scorer": dataclasses.asdict(self),
            "system": dataclasses.asdict(system),
            "pair": [pair.name, pair.snr_db, pair.noise_class, files],
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def result_of(pair: Scored, system: System, compared: Compared | None = None) -> Sound:
    """What a system makes of a recording: at its own rate, and of the loudest channel.

    Args:
        pair, system: the recording and the system.
        compared: the same at the rate of the comparison, which saves denoising twice where that
            is the recording itself.

    Raises:
        UserError: a recording cannot be read or denoised.
    """
    channels, rate = _load_channels(pair.noisy)
    number = _loudest(channels, rate)
    noisy = channels[number]
    if system.kind == "noisy":
        return Sound(noisy, rate)
    if system.kind == "folder":
        channels, rate = _load_channels(pair.enhanced[system.name])
        return Sound(channels[min(number, len(channels) - 1)], rate)
    if compared and compared.rate == rate and np.array_equal(compared.noisy, noisy):
        return Sound(compared.estimate, rate)
    return Sound(made(system).enhance(noisy, rate), rate)


def clean_of(pair: Pair) -> Sound:
    """The clean recording of a pair as it is, of several channels the loudest.

    Raises:
        UserError: it cannot be read.
    """
    channels, rate = _load_channels(pair.clean)
    return Sound(channels[_loudest(channels, rate)], rate)


def _loudest(channels: np.ndarray, rate: int) -> int:
    """Which of (channels, samples) has the highest level."""
    return max(range(len(channels)), key=lambda n: dsp.active_rms(channels[n], rate))


def _load_channels(path: Path) -> tuple[np.ndarray, int]:
    """A whole recording of any format, float32 (channels, samples), and its rate in Hz.

    Raises:
        UserError: it is missing, unreadable, empty, or holds NaN or infinite samples.
    """
    recording = Recording(path)
    blocks = list(recording.blocks())
    if not blocks:
        raise UserError(f"No samples in {path}")
    channels = np.concatenate(blocks, axis=1)
    if not np.isfinite(channels).all():
        raise UserError(f"NaN or infinite samples in {path}")
    return channels, recording.format.sample_rate


@functools.lru_cache(maxsize=4)
def made(system: System) -> Any:
    """The object of a system, which is kept for further files."""
    return system.make()


def score(
    clean: np.ndarray | None, estimate: np.ndarray, rate: int, metrics: Iterable[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Values of metrics by name, and the reasons of those that have none."""
    scores: dict[str, float] = {}
    unscored: dict[str, str] = {}
    for name in metrics:
        try:
            value = registry.resolve(registry.METRICS, "metrics", name)(clean, estimate, rate)
            scores |= value if isinstance(value, dict) else {name: value}
        except Unscorable as refusal:
            unscored[name] = str(refusal)
    return scores, unscored


def input_snr_db(clean: np.ndarray, noisy: np.ndarray, rate: int) -> float | None:
    """Level of the voice where it is active over that of the noise, dB; None for silence."""
    levels = (dsp.active_rms(clean, rate), float(np.sqrt(np.square(noisy - clean).mean())))
    if min(levels) <= dsp.TINY:
        return None
    return 20.0 * float(np.log10(levels[0] / levels[1]))


def score_pairs(
    enhance: Callable[[np.ndarray], np.ndarray],
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    rate: int,
) -> dict[str, float]:
    """Mean SI-SDR (dB) and PESQ of a network in training, on a few pairs in memory.

    Args:
        enhance: noisy (samples,) -> estimate (samples,).
        pairs: (clean, noisy), each float (samples,).
        rate: Hz; PESQ is wide-band from 16000 on, narrow-band below.

    Returns:
        `si_sdr` and `pesq`; a pair that a metric cannot score is left out of its mean, and a
        metric without any pair is NaN.
    """
    names = ("si_sdr", "pesq")
    values: dict[str, list[float]] = {name: [] for name in names}
    for clean, noisy in pairs:
        scores, _ = score(clean, np.asarray(enhance(noisy)), rate, names)
        for name, value in scores.items():
            values[name].append(value)
    return {name: float(np.mean(values[name])) if values[name] else float("nan") for name in names}


class ScoreStore:
    """Rows in a file of JSON lines, one written as soon as it is known.

    Args:
        path: the file; rows of an interrupted run are read from it.
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, _row)
        self._rows = {row["key"]: row for row in self._journal.read()}

    def get(self, key: str) -> Row | None:
        """The row of an earlier run, unless it was an error."""
        row = self._rows.get(key)
        return None if row is None or "error" in row else row

    def add(self, row: Row) -> None:
        """Keep a row, and append it to the file.

        Raises:
            UserError: the file cannot be written.
        """
        self._journal.append(row)
        self._rows[row["key"]] = row


def score_all(
    pairs: Sequence[Scored],
    systems: Sequence[System],
    scorer: Scorer,
    store: ScoreStore,
    jobs: int = 1,
) -> list[Row]:
    """Rows of every pair and system, sorted by system and file.

    Args:
        pairs, systems, scorer: what to score and how.
        store: where rows are kept, and found again.
        jobs: processes; 1 works in this one.
    """
    from tqdm import tqdm

    keys = {scorer.key(pair, system): (pair, system) for system in systems for pair in pairs}
    rows = {key: row for key in keys if (row := store.get(key))}
    missing = [task for key, task in keys.items() if key not in rows]
    with tqdm(total=len(keys), initial=len(rows), unit="file", desc="scoring") as bar:
        for row in _score_tasks(missing, scorer, jobs):
            store.add(row)
            rows[row["key"]] = row
            bar.update()
    return [rows[key] for key in keys]


def _score_tasks(
    tasks: Sequence[tuple[Scored, System]], scorer: Scorer, jobs: int
) -> Iterator[Row]:
    """Rows of tasks in the order in which they are done."""
    risky = any(has_risky_decoder(path) for pair, _ in tasks for path in pair.paths())
    if not risky and (jobs == 1 or len(tasks) < 2):
        yield from (scorer.row(*task) for task in tasks)
        return
    for n, row in workers.each_apart(scorer.row, dict(enumerate(tasks)), jobs):
        pair, system = tasks[n]
        yield scorer.failure(pair, system, row) if row == workers.DIED else row
