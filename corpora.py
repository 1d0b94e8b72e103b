"""The recordings of a data set, parted into training and validation before anything is mixed.

Two kinds of corpus: voices and noises that are mixed, or pairs of a clean and a noisy recording
with the same name.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import soundfile

import data_tools
import sources
from errors import UserError
from sources import AudioPool, Recording
from window_sources import Grid, MixedWindows, MixingLaw, PairedWindows, WindowSource

LONGEST_TRIM_S = 0.05


@dataclasses.dataclass(frozen=True)
class Corpus:
    """What a data set is drawn from.

    Args:
        pools: recordings by what they are.
        train, validation: windows of each split.
        left_out: a sentence for each file that cannot be used.
        remarks: a sentence for each file that is used otherwise than it is.
    """

    pools: dict[str, AudioPool]
    train: WindowSource
    validation: WindowSource
    left_out: list[str]
    remarks: list[str] = dataclasses.field(default_factory=list)


def open_mixed(options: argparse.Namespace, sample_rate: int, law: MixingLaw, grid: Grid) -> Corpus:
    """Voices and noises, at a sample rate.

    Raises:
        UserError: there are not enough recordings for two splits.
    """
    voices, voice_split = _open_kind(options, "voice", sample_rate)
    noises, noise_split = _open_kind(options, "noise", sample_rate)
    train, validation = (
        MixedWindows(
            voices, noises, voice_split[side], noise_split[side], law, grid, (options.seed, side)
        )
        for side in (0, 1)
    )
    left_out = [reason for pool in (voices, noises) for _, reason in pool.bad]
    return Corpus({"voice": voices, "noise": noises}, train, validation, left_out)


def _open_kind(
    options: argparse.Namespace, kind: str, sample_rate: int
) -> tuple[AudioPool, tuple[list[int], list[int]]]:
    """Recordings of `voice` or `noise`, and which of them are for training and validation."""
    files = _find(options, kind, getattr(options, f"{kind}_dir"))
    folder = getattr(options, f"{kind}_dir_validation")
    held_out = _find(options, kind, folder) if folder else []
    held_out_paths = {path.resolve() for path, _ in held_out}
    files = [file for file in files if file[0].resolve() not in held_out_paths] + held_out
    pool = AudioPool.build(files, sample_rate, options.cache_dir, workers=options.workers)
    usable = _long_enough(pool, options.min_duration)
    if held_out:
        return pool, _parted(pool, usable, held_out_paths)
    return pool, _split(pool, usable, options, _speaker if kind == "voice" else _file)


def _find(options: argparse.Namespace, kind: str, folder: Path) -> list[tuple[Path, str]]:
    """Recordings of `voice` or `noise` below a folder, with their groups."""
    if kind == "voice":
        return sources.find_voices(folder)
    return sources.find_noises(folder, options.noise_classes)


def _long_enough(pool: AudioPool, min_duration: float) -> list[int]:
    """Numbers of the recordings that last `min_duration` seconds or more."""
    shortest = min_duration * pool.sample_rate
    usable = [i for i, recording in enumerate(pool.recordings) if recording.n_samples >= shortest]
    if not usable:
        raise UserError(
            f"None of the {len(pool.recordings)} recordings lasts `min_duration`, {min_duration} s"
        )
    return usable


def _parted(
    pool: AudioPool, usable: Sequence[int], held_out: Collection[Path]
) -> tuple[list[int], list[int]]:
    """Usable recordings outside and inside of the folder of validation."""
    sides: tuple[list[int], list[int]] = ([], [])
    for index in usable:
        sides[pool.recordings[index].path.resolve() in held_out].append(index)
    if not all(sides):
        raise UserError(
            "Training and validation both need usable recordings. Received: "
            f"{len(sides[0])} to train, {len(sides[1])} to validate"
        )
    return sides


def _split(
    pool: AudioPool,
    usable: Sequence[int],
    options: argparse.Namespace,
    key: Callable[[Recording], Any],
) -> tuple[list[int], list[int]]:
    """Usable recordings parted at random."""
    recordings = [pool.recordings[index] for index in usable]
    sides = sources.split(recordings, options.validation_split, options.seed, key)
    train, validation = ([usable[place] for place in side] for side in sides)
    return train, validation


def _speaker(recording: Recording) -> str:
    """What voices are parted by."""
    return recording.group


def _file(recording: Recording) -> Path:
    """What noises are parted by."""
    return recording.path


@dataclasses.dataclass(frozen=True)
class Pair:
    """A clean and a noisy recording of one voice, and its speaker."""

    clean: Path
    noisy: Path
    speaker: str


def open_paired(options: argparse.Namespace, sample_rate: int, grid: Grid) -> Corpus:
    """Pairs of recordings that have the same name in two folders, at a sample rate.

    Raises:
        UserError: the folders share no names, or there are not enough pairs for two splits.
    """
    pairs, left_out = find_pairs(options.clean_dir, options.noisy_dir)
    clean, noisy = (
        AudioPool.build(files, sample_rate, options.cache_dir, workers=options.workers)
        for files in (
            [(pair.clean, pair.speaker) for pair in pairs],
            [(pair.noisy, pair.speaker) for pair in pairs],
        )
    )
    left_out += [reason for pool in (clean, noisy) for _, reason in pool.bad]
    matched, remarks, refused = match(pairs, clean, noisy)
    left_out += refused
    if not matched:
        raise UserError(f"None of the {len(pairs)} pairs can be used: {left_out[-1]}")
    usable = [number for number in _long_enough(clean, options.min_duration) if number in matched]
    train, validation = (
        PairedWindows(clean, noisy, [(i, matched[i]) for i in side], grid, (options.seed, number))
        for number, side in enumerate(_split(clean, usable, options, _speaker))
    )
    return Corpus({"clean": clean, "noisy": noisy}, train, validation, left_out, remarks)


def find_pairs(clean_dir: Path, noisy_dir: Path) -> tuple[list[Pair], list[str]]:
    """Recordings with the same name, whatever their suffixes, and a sentence for each other one.

    Raises:
        UserError: a folder is missing, or the two share no names.
    """
    left_out: list[str] = []
    clean, noisy = (_by_name(folder, left_out) for folder in (clean_dir, noisy_dir))
    names = sorted(clean.keys() & noisy.keys())
    if not names:
        raise UserError(f"No recording has the same name in {clean_dir} and {noisy_dir}")
    alone = [clean[name][0] for name in sorted(clean.keys() - noisy.keys())]
    alone += [noisy[name][0] for name in sorted(noisy.keys() - clean.keys())]
    left_out += [f"No recording of the same name to pair with {path}" for path in alone]
    return [Pair(clean[n][0], noisy[n][0], clean[n][1]) for n in names], left_out


def _by_name(folder: Path, left_out: list[str]) -> dict[str, tuple[Path, str]]:
    """Recordings with their speakers by what they share with their pairs: the name in the folder.

    A sentence for each of several recordings of one name but the first goes to `left_out`.
    """
    found: dict[str, tuple[Path, str]] = {}
    for path, speaker in sources.find_voices(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        first, _ = found.setdefault(name, (path, speaker))
        if first != path:
            left_out.append(f"{path} has the name of {first}")
    return found


def match(
    pairs: Sequence[Pair], clean: AudioPool, noisy: AudioPool
) -> tuple[dict[int, int], list[str], list[str]]:
    """Find out which pairs fit together.

    Returns:
        For each usable pair, the number of its noisy recording by that of its clean one; a
        sentence for each that is trimmed to the shorter, by up to `LONGEST_TRIM_S`; a sentence for
        each that is refused because lengths or rates differ.
    """
    index_of = [
        {recording.number: index for index, recording in enumerate(pool.recordings)}
        for pool in (clean, noisy)
    ]
    matched: dict[int, int] = {}
    remarks, refused = [], []
    for number, pair in enumerate(pairs):
        first, second = (indices.get(number) for indices in index_of)
        if first is None or second is None:
            continue
        rates = [
            soundfile.info(data_tools.native_name(path)).samplerate
            for path in (pair.clean, pair.noisy)
        ]
        durations = [
            pool.recordings[index].n_samples / pool.sample_rate
            for pool, index in ((clean, first), (noisy, second))
        ]
        difference = abs(durations[0] - durations[1])
        if rates[0] != rates[1]:
            refused.append(f"{pair.clean} has {rates[0]} Hz and {pair.noisy} {rates[1]} Hz")
        elif difference > LONGEST_TRIM_S:
            refused.append(
                f"{pair.clean} lasts {durations[0]:.3f} s and {pair.noisy} {durations[1]:.3f} s"
            )
        else:
            matched[first] = second
            if difference:
                remarks.append(f"{pair.clean} and its pair differ by {1000 * difference:.1f} ms")
    return matched, remarks, refused
