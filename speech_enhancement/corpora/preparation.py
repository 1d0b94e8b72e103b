"""Folders, packs or recorded pairs as pools of recordings, parted before anything is mixed.

Stored windows and mixtures on the fly are drawn from what this module opens, so that both find,
group, decode and part recordings alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement.corpora import packs
from speech_enhancement.corpora import pairs as pairing
from speech_enhancement.corpora import pools as sources
from speech_enhancement.corpora.pairs import Pair
from speech_enhancement.corpora.pools import AudioPool, PoolRecording
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files.headers import read_header
from speech_enhancement.files.paths import PathFields

SPLITS = ("train", "validation", "test")
LONGEST_TRIM_S = 0.05
# Speakers or noises that training and validation need beside those of tests.
FEWEST_LEFT = 2
SPLITS_DRAWN = 32
Folders = Sequence[Path]


@dataclasses.dataclass(frozen=True)
class Preparation(PathFields):
    """How recordings are decoded and split.

    Args:
        sample_rate: of the pools, Hz.
        cache_dir: folder of pools and of unpacked packs.
        seed: of the split.
        validation_split: share of the audio for validation.
        test_split: share of the audio that neither training nor validation may use; 0 for none.
        split_noises_by: what of the noises must not be in two splits, `file` or `class`.
        noise_classes: keep only these classes of noise; all by default.
        min_duration: leave out shorter recordings, s.
        workers: processes that decode.

    Raises:
        UsageError: nothing is left to train on.
    """

    sample_rate: int
    cache_dir: Path
    seed: int = 0
    validation_split: float = 0.1
    test_split: float = 0.0
    split_noises_by: str = "file"
    noise_classes: Sequence[str] | None = None
    min_duration: float = 0.0
    workers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_split + self.test_split >= 1.0:
            raise UsageError(
                "`validation_split` and `test_split` must leave a part to train on. Received: "
                f"{self.validation_split} and {self.test_split}"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that there are."""
        return SPLITS if self.test_split else SPLITS[:2]


@dataclasses.dataclass(frozen=True)
class SplitPool:
    """Recordings of one kind.

    Args:
        pool: the recordings.
        indices: by the name of a split, which of them belong to it.
    """

    pool: AudioPool
    indices: dict[str, list[int]]


def open_voices(
    folders: Folders, preparation: Preparation, validation_folders: Folders = ()
) -> SplitPool:
    """Voices, of which no speaker is in two splits.

    Args:
        folders: folders or packs of voices.
        preparation: how they are decoded and parted.
        validation_folders: what to validate with; by default a part of `folders`.

    Raises:
        UserError: a folder is missing, or there are not enough recordings.
    """
    return _open(sources.find_voices, _group, folders, validation_folders, preparation)


def open_noises(
    folders: Folders, preparation: Preparation, validation_folders: Folders = ()
) -> SplitPool:
    """Noises, of which no recording, or no class, is in two splits; see `open_voices`.

    Raises:
        UserError: a folder is missing, or there are not enough recordings.
        UsageError: a class of noise is not there.
    """

    def find(folder: Path) -> list[tuple[Path, str]]:
        return sources.find_noises(folder, preparation.noise_classes)

    key = _path if preparation.split_noises_by == "file" else _group
    return _open(find, key, folders, validation_folders, preparation)


def _open(
    find: Callable[[Path], list[tuple[Path, str]]],
    key: Callable[[PoolRecording], Any],
    folders: Folders,
    validation_folders: Folders,
    preparation: Preparation,
) -> SplitPool:
    """Recordings of one kind."""
    files, held_out = (
        _find(find, some, preparation.cache_dir) for some in (folders, validation_folders)
    )
    held_out_paths = {path.resolve() for path, _ in held_out}
    files = [file for file in files if file[0].resolve() not in held_out_paths] + held_out
    pool = _pool(files, preparation)
    usable = _long_enough(pool, preparation.min_duration)
    if not validation_folders:
        return SplitPool(pool, _parted(pool, usable, preparation, key))
    sides: tuple[list[int], list[int]] = ([], [])
    for index in usable:
        sides[pool.recordings[index].path.resolve() in held_out_paths].append(index)
    if not all(sides):
        raise UserError(
            "Training and validation both need usable recordings. Received: "
            f"{len(sides[0])} to train, {len(sides[1])} to validate"
        )
    indices = dict(zip(SPLITS, sides, strict=False))
    if preparation.test_split:
        indices["train"], indices["test"] = _hold_out(
            pool, sides[0], preparation.test_split, preparation.seed, key
        )
    return SplitPool(pool, indices)


def _find(
    find: Callable[[Path], list[tuple[Path, str]]], folders: Folders, cache_dir: Path
) -> list[tuple[Path, str]]:
    """Recordings below all of some folders or packs with their groups, each recording once.

    In whichever order the folders are given, the recordings have the same.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for folder in sorted(folders, key=lambda folder: Path(folder).absolute()):
        for path, group in find(packs.as_folder(folder, cache_dir)):
            # A link is a recording of its own; a folder given twice is not.
            found.setdefault(path.absolute(), (path, group))
    return list(found.values())


def _pool(files: sources.GroupedFiles, preparation: Preparation) -> AudioPool:
    """The pool of some files."""
    return AudioPool.build(
        files, preparation.sample_rate, preparation.cache_dir, workers=preparation.workers
    )


def _long_enough(pool: AudioPool, min_duration: float) -> list[int]:
    """Numbers of the recordings that last `min_duration` seconds or more."""
    shortest = min_duration * pool.sample_rate
    usable = [i for i, recording in enumerate(pool.recordings) if recording.n_samples >= shortest]
    if not usable:
        raise UserError(
            f"None of the {len(pool.recordings)} recordings is as long as `min_duration`, "
            f"{min_duration} s"
        )
    return usable


def _parted(
    pool: AudioPool,
    usable: list[int],
    preparation: Preparation,
    key: Callable[[PoolRecording], Any],
) -> dict[str, list[int]]:
    """Usable recordings by split."""
    indices: dict[str, list[int]] = {}
    share, test_share = preparation.validation_split, preparation.test_split
    if test_share:
        usable, indices["test"] = _hold_out(pool, usable, test_share, preparation.seed, key)
        share /= 1.0 - test_share
    train, validation = _part(pool, usable, share, preparation.seed, key)
    return {"train": train, "validation": validation} | indices


def _hold_out(
    pool: AudioPool,
    usable: Sequence[int],
    share: float,
    seed: int,
    key: Callable[[PoolRecording], Any],
) -> tuple[list[int], list[int]]:
    """Usable recordings, and those of them for tests, which have about a share of the audio.

    Of the splits that scikit-learn draws, all of which have a share of the groups, it is the one
    whose share of the audio is the nearest.
    """
    # Training on the fly, which has no tests, runs where scikit-learn is not.
    from sklearn.model_selection import GroupShuffleSplit

    recordings = [pool.recordings[index] for index in usable]
    groups = np.array([str(key(recording)) for recording in recordings])
    n_groups = len(set(groups))
    if n_groups <= FEWEST_LEFT:
        return _part(pool, usable, share, seed, key)
    n_test = min(max(round(share * n_groups), 1), n_groups - FEWEST_LEFT)
    splitter = GroupShuffleSplit(SPLITS_DRAWN, test_size=n_test, random_state=seed % 2**32)
    lengths = np.array([recording.n_samples for recording in recordings])
    rest, test = min(
        splitter.split(lengths, groups=groups),
        key=lambda sides: abs(lengths[sides[1]].sum() - share * lengths.sum()),
    )
    return [usable[place] for place in rest], [usable[place] for place in test]


def _part(
    pool: AudioPool,
    usable: Sequence[int],
    share: float,
    seed: int,
    key: Callable[[PoolRecording], Any],
) -> tuple[list[int], list[int]]:
    """Split usable recordings in two; the second part has a given share of the audio."""
    recordings = [pool.recordings[index] for index in usable]
    first, second = (
        [usable[place] for place in side] for side in sources.split(recordings, share, seed, key)
    )
    return first, second


def _group(recording: PoolRecording) -> str:
    """The speaker or the class of a recording."""
    return recording.group


def _path(recording: PoolRecording) -> Path:
    """The file of a recording."""
    return recording.path


@dataclasses.dataclass(frozen=True)
class SplitPairs:
    """Recorded pairs of which no speaker is in two splits.

    Args:
        clean, noisy: the recordings.
        indices: by the name of a split, numbers of clean and noisy recordings that belong together.
        left_out: a sentence for each file that cannot be used.
        remarks: a sentence for each file that is used otherwise than it is.
    """

    clean: AudioPool
    noisy: AudioPool
    indices: dict[str, list[tuple[int, int]]]
    left_out: list[str]
    remarks: list[str]


def open_pairs(clean_dirs: Folders, noisy_dirs: Folders, preparation: Preparation) -> SplitPairs:
    """Pairs of recordings that have the same name in two folders, or in the nth of each list.

    Raises:
        UserError: the folders share no names, or there are not enough pairs.
        UsageError: there is not one folder of noisy recordings for each of clean ones.
    """
    if len(clean_dirs) != len(noisy_dirs):
        raise UsageError(
            "Folders of clean and noisy recordings must come in pairs. Received: "
            f"{len(clean_dirs)} of clean ones and {len(noisy_dirs)} of noisy ones"
        )
    pairs: list[Pair] = []
    speakers: dict[Path, str] = {}
    left_out: list[str] = []
    for folders in zip(clean_dirs, noisy_dirs, strict=True):
        clean_dir, noisy_dir = (
            packs.as_folder(folder, preparation.cache_dir) for folder in folders
        )
        found, alone = pairing.common_pairs(clean_dir, noisy_dir)
        speakers |= dict(sources.find_voices(clean_dir))
        pairs += found
        left_out += alone
    clean, noisy = (
        _pool(files, preparation)
        for files in (
            [(pair.clean, speakers[pair.clean]) for pair in pairs],
            [(pair.noisy, speakers[pair.clean]) for pair in pairs],
        )
    )
    left_out += reasons_of((clean, noisy))
    matched, remarks, refused = match(pairs, clean, noisy)
    left_out += refused
    if not matched:
        raise UserError(f"None of the {len(pairs)} pairs can be used: {left_out[-1]}")
    long = _long_enough(clean, preparation.min_duration)
    usable = [number for number in long if number in matched]
    indices = {
        name: [(index, matched[index]) for index in side]
        for name, side in _parted(clean, usable, preparation, _group).items()
    }
    return SplitPairs(clean, noisy, indices, left_out, remarks)


def reasons_of(pools: Iterable[AudioPool]) -> list[str]:
    """A sentence for each file that could not be decoded into the pools."""
    return [reason for pool in pools for _, reason in pool.bad]


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
        rates = [read_header(path).rate for path in (pair.clean, pair.noisy)]
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
