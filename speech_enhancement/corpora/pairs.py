"""Pairs of a clean and a noisy recording to learn from or to score on, and what is known of each.

Two folders hold recordings of the same names, whatever the suffixes. All that can be told from
names and headers is checked before any of them is scored. Recordings without clean ones can be
scored as well, by what needs none.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import audio_files, audio_io
from speech_enhancement.files.headers import Header, read_header

LONGEST_SHIFT_S = 0.05


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two recordings of one voice.

    Args:
        name: path below the folders, without suffix.
        clean, noisy: the recordings.
        enhanced: recordings of others' results, by the name of their folder.
        snr_db: ratio that a table or the name gives, dB.
        noise_class: kind of noise that a table, the name or the folder gives.
    """

    name: str
    clean: Path
    noisy: Path
    enhanced: dict[str, Path] = dataclasses.field(default_factory=dict)
    snr_db: float | None = None
    noise_class: str | None = None

    def paths(self) -> list[Path]:
        """All recordings of the pair."""
        return [self.clean, self.noisy, *self.enhanced.values()]


@dataclasses.dataclass(frozen=True)
class Single:
    """A recording without a clean one.

    Args:
        name: path below the folder.
        noisy: the recording.
        enhanced, snr_db, noise_class: see `Pair`.
    """

    name: str
    noisy: Path
    enhanced: dict[str, Path] = dataclasses.field(default_factory=dict)
    snr_db: float | None = None
    noise_class: str | None = None

    @property
    def clean(self) -> None:
        """There is none."""
        return None

    def paths(self) -> list[Path]:
        """All of its recordings."""
        return [self.noisy, *self.enhanced.values()]


Scored = Pair | Single


def find_pairs(clean_dir: Path, noisy_dir: Path, enhanced_dirs: Sequence[Path] = ()) -> list[Pair]:
    """Pairs of all noisy recordings, sorted by name; clean ones without a partner do not count.

    Raises:
        UserError: a folder is missing or empty, or a recording has no partner.
        UsageError: two folders of results have one name.
    """
    clean, noisy = _by_name(clean_dir), _by_name(noisy_dir)
    results = _results(enhanced_dirs)
    for folder, there in [(clean_dir, clean), *zip(enhanced_dirs, results.values(), strict=True)]:
        _check_partners(noisy, noisy_dir, there, folder)
    return [
        Pair(
            name,
            clean[name],
            noisy[name],
            {folder: there[name] for folder, there in results.items()},
            noise_class=Path(name).parent.as_posix() if "/" in name else None,
        )
        for name in sorted(noisy)
    ]


def find_singles(noisy_dir: Path, enhanced_dirs: Sequence[Path] = ()) -> list[Single]:
    """All recordings below a folder, sorted by name.

    Raises:
        UserError: a folder is missing or empty, or a recording has no result.
        UsageError: two folders of results have one name.
    """
    paths = audio_io.find_audio_files(noisy_dir, audio_files.RECORDING_SUFFIXES)
    results = _results(enhanced_dirs)
    keys = {path: path.relative_to(noisy_dir).with_suffix("").as_posix() for path in paths}
    for folder, there in zip(enhanced_dirs, results.values(), strict=True):
        _check_partners({key: path for path, key in keys.items()}, noisy_dir, there, folder)
    return [
        Single(
            path.relative_to(noisy_dir).as_posix(),
            path,
            {folder: there[key] for folder, there in results.items()},
            noise_class=Path(key).parent.as_posix() if "/" in key else None,
        )
        for path, key in keys.items()
    ]


def _results(folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Recordings by name in folders of results, by the names of these.

    Raises:
        UsageError: two folders have one name.
    """
    results = {folder.resolve().name: _by_name(folder) for folder in folders}
    if len(results) < len(folders):
        names = ", ".join(str(folder) for folder in folders)
        raise UsageError(f"Folders in `enhanced_dir` must differ in name. Received: {names}")
    return results


def _check_partners(
    noisy: dict[str, Path], noisy_dir: Path, there: dict[str, Path], folder: Path
) -> None:
    """Refuse a folder in which a noisy recording has no partner."""
    if alone := sorted(noisy.keys() - there.keys()):
        more = f" and {len(alone) - 1} more of {noisy_dir}" if len(alone) > 1 else ""
        raise UserError(f"{folder} has no recording with the name of {noisy[alone[0]]}{more}")


def common_pairs(clean_dir: Path, noisy_dir: Path) -> tuple[list[Pair], list[str]]:
    """Pairs of the recordings that have a partner, and a sentence for each other one.

    Raises:
        UserError: a folder is missing or empty, or the two share no names.
    """
    left_out: list[str] = []
    clean, noisy = (_by_name(folder, left_out) for folder in (clean_dir, noisy_dir))
    names = sorted(clean.keys() & noisy.keys())
    if not names:
        raise UserError(f"No recording has the same name in {clean_dir} and {noisy_dir}")
    alone = [clean[name] for name in sorted(clean.keys() - noisy.keys())]
    alone += [noisy[name] for name in sorted(noisy.keys() - clean.keys())]
    left_out += [f"No recording of the same name to pair with {path}" for path in alone]
    return [Pair(name, clean[name], noisy[name]) for name in names], left_out


def _by_name(folder: Path, left_out: list[str] | None = None) -> dict[str, Path]:
    """Recordings below a folder by what the partners of a pair share.

    Args:
        folder: where to look.
        left_out: takes a sentence for each of several recordings of one name but the first.

    Raises:
        UserError: the folder is missing, or without `left_out`, two recordings differ in the
            suffix only.
    """
    found: dict[str, Path] = {}
    for path in audio_io.find_audio_files(folder):
        other = found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if other == path:
            continue
        if left_out is None:
            raise UserError(f"{other} and {path} have the same name; remove one of them")
        left_out.append(f"{path} has the name of {other}")
    return found


def check_headers(pairs: Sequence[Pair]) -> list[int]:
    """Compare channels, rates and lengths within every pair whose headers can be read.

    Returns:
        Their sample rates, Hz.

    Raises:
        UserError: there is none such, or the recordings of a pair do not fit together.
    """
    rates = []
    for pair in pairs:
        paths = (pair.noisy, *pair.enhanced.values())
        try:
            clean, *others = (read_header(path) for path in (pair.clean, *paths))
        except UserError as error:  # scoring leaves the pair out, and names the file
            sentence = str(error)
            continue
        for path, header in zip(paths, others, strict=True):
            _check_same(pair.clean, clean, path, header)
        rates.append(clean.rate)
    if not rates:
        raise UserError(f"None of the {len(pairs)} pairs can be read: {sentence}")
    return rates


def _check_same(
    clean_path: Path,
    clean: Header,
    path: Path,
    other: Header,
) -> None:
    """Refuse a partner with other channels, another rate, or a very different length."""
    if clean.channels != other.channels:
        what = f"{clean.channels} channels and {path} has {other.channels}"
        raise UserError(
            "Both recordings of a pair must have the same number of channels; "
            f"{clean_path} has {what}"
        )
    if clean.rate != other.rate:
        what = f"{clean.rate} Hz and {path} {other.rate} Hz"
        raise UserError(
            f"Both recordings of a pair must have the same sample rate; {clean_path} has {what}"
        )
    if abs(clean.duration - other.duration) > LONGEST_SHIFT_S:
        what = f"{clean.duration:.3f} s and {path} {other.duration:.3f} s"
        raise UserError(
            f"The lengths of a pair may differ by {1000 * LONGEST_SHIFT_S:.0f} ms; "
            f"{clean_path} lasts {what}"
        )


def align(
    clean: np.ndarray, other: np.ndarray, rate: int
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Cut two recordings of different lengths to what both hold.

    Args:
        clean: (samples,), or (recordings, samples) of which the first is compared.
        other: (samples,), up to 50 ms shorter or longer, and shifted by up to 50 ms.
        rate: Hz.

    Returns:
        Both, of one length, and a remark on what was done; none for equal lengths, which are
        taken to be aligned.
    """
    n_clean, n_other = clean.shape[-1], len(other)
    if n_clean == n_other:
        return clean, other, None
    reach = round(LONGEST_SHIFT_S * rate)
    likeness = scipy.signal.correlate(other, np.atleast_2d(clean)[0], method="fft")
    lags = scipy.signal.correlation_lags(n_other, n_clean)
    near = np.abs(lags) <= reach
    lag = int(lags[near][np.abs(likeness[near]).argmax()])
    clean_part, other_part = clean[..., max(0, -lag) :], other[max(0, lag) :]
    length = min(clean_part.shape[-1], len(other_part))
    remark = (
        f"{abs(n_clean - n_other) * 1000 / rate:.1f} ms longer or shorter than its clean "
        f"recording, shifted by {lag * 1000 / rate:.1f} ms to match it"
    )
    return clean_part[..., :length], other_part[:length], remark


def with_table(pairs: Sequence[Scored], path: Path) -> list[Scored]:
    """Pairs with the noise class and SNR that a CSV table gives.

    Args:
        pairs: what to annotate.
        path: table with a column `file` (a name, with or without suffix), and `class`, `snr` or
            both.

    Raises:
        UserError: the table cannot be read, has other columns, or misses a file.
    """
    try:
        with Path(path).open(newline="") as file:
            rows = {row["file"]: row for row in csv.DictReader(file)}
        notes = {name: _note(row.get("class"), row.get("snr")) for name, row in rows.items()}
        # A point in a name may begin a suffix, or not.
        notes = {
            Path(name).with_suffix("").as_posix(): note for name, note in notes.items()
        } | notes
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"Cannot read the table {path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} must have the columns file, class and snr (dB). Received: {error}"
        ) from error
    annotated: list[Scored] = []
    for pair in pairs:
        stem = Path(pair.name).with_suffix("").as_posix()
        note = notes.get(pair.name, notes.get(stem))
        if note is None:
            raise UserError(f"{path} has no row for {pair.name}")
        annotated.append(dataclasses.replace(pair, **note))
    return annotated


def with_pattern(pairs: Sequence[Scored], pattern: str) -> list[Scored]:
    """Pairs with the noise class and SNR that their names give.

    Args:
        pairs: what to annotate.
        pattern: regular expression with groups `class`, `snr` or both, searched in the name.

    Raises:
        UsageError: it is not one, or does not find every name.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"`name_pattern` must be a regular expression. Received: {pattern} ({error})"
        ) from error
    groups = set(expression.groupindex)
    if not groups or not groups <= {"class", "snr"}:
        raise UsageError(
            "`name_pattern` must have a group (?P<class>...) or (?P<snr>...) and no other. "
            f"Received: {pattern}"
        )
    return [dataclasses.replace(pair, **_note_of_name(pair.name, expression)) for pair in pairs]


def _note_of_name(name: str, expression: re.Pattern[str]) -> dict[str, Any]:
    """The class and the SNR that a name contains."""
    found = expression.search(name)
    if not found:
        raise UsageError(f"`name_pattern` must match every name. Received: {name}")
    groups = found.groupdict()
    try:
        return _note(groups.get("class"), groups.get("snr"))
    except ValueError as error:
        raise UsageError(
            f"`name_pattern` must find a number as snr. Received: {groups['snr']} in {name}"
        ) from error


def _note(noise_class: str | None, snr: str | None) -> dict[str, Any]:
    """The fields of `Pair` that hold a class and an SNR, which are given as texts."""
    note: dict[str, Any] = {}
    if noise_class:
        note["noise_class"] = noise_class
    if snr:
        note["snr_db"] = float(snr)
        if not math.isfinite(note["snr_db"]):
            raise ValueError(f"snr {snr}")
    return note
