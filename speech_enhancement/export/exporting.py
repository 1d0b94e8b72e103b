"""Exports networks to other formats, and keeps what sounds as it does in Keras."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from speech_enhancement import places, registry
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.export import report
from speech_enhancement.export.check import RealSound, difference, milliseconds_per_second
from speech_enhancement.export.formats import Exporter, TrainedNetwork, check_packages
from speech_enhancement.export.report import ExportRow
from speech_enhancement.files import atomic, audio_io, provenance
from speech_enhancement.inference import keras_archive, network_files, runtime
from speech_enhancement.inference.card import ModelCard, file_sha256

RECORDINGS = places.DEMO_DATA / "noisy"
FOLDER = places.WORK / "out/export"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PACKAGES = ("keras", "tensorflow", "onnxruntime", "tf2onnx", "ai-edge-litert")


def export_networks(
    networks: Sequence[str | Path],
    formats: Sequence[str] = tuple(registry.EXPORT_FORMATS),
    export_dir: Path = FOLDER,
    recordings: Path | None = None,
) -> list[ExportRow]:
    """Write networks in other formats, each with a card, and a report.

    Each file is read back, and kept if what it makes of recordings sounds as what Keras makes of
    them. TensorFlow is kept to one thread from now on, so that times compare.

    Args:
        networks: names of shipped networks, or paths of networks' files without suffix.
        formats: names in `registry.EXPORT_FORMATS`.
        export_dir: folder of the files and of the report `export.md`; not that of a network.
        recordings: folder of what they are compared on; those of `demo_data` by default.

    Returns:
        A row of the report for each network in Keras and in each format; what was not kept has a
        `reason`.

    Raises:
        UserError: a network or a package is missing, or the folder cannot be written.
        UsageError: a format is unknown, there is none, or the folder is that of a network.
    """
    exporters = exporters_of(formats)
    stems = [network_files.stem_named(network) for network in networks]
    for stem in stems:
        runtime.network_path(stem, "keras")
    folder = make_folder(Path(export_dir), stems)
    keras_archive.limit_threads(1)
    sounds = audio_io.find_audio_files(recordings or RECORDINGS)
    rows = [row for stem in stems for row in export_network(stem, exporters, folder, sounds)]
    report.save(folder, rows, provenance.circumstances(PACKAGES))
    return rows


def exporters_of(formats: Sequence[str]) -> dict[str, Exporter]:
    """The formats to write, by name.

    Raises:
        UsageError: one of them is unknown, or there is none.
        UserError: something that one of them needs is not installed.
    """
    if not formats:
        raise UsageError(f"`formats` must name some of {', '.join(registry.EXPORT_FORMATS)}")
    exporters = {
        name: registry.resolve(registry.EXPORT_FORMATS, "formats", name)() for name in formats
    }
    for name, exporter in exporters.items():
        check_packages(name, exporter)
    return exporters


def make_folder(folder: Path, stems: Sequence[Path]) -> Path:
    """The folder of the results.

    Raises:
        UsageError: it is that of a network, whose files bear the same names.
        UserError: it cannot be made.
    """
    if any(folder.resolve() == stem.parent.resolve() for stem in stems):
        raise UsageError(f"`export_dir` must not be `weights_folder`. Received: {folder}")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def export_network(
    stem: Path, exporters: dict[str, Exporter], folder: Path, sounds: Sequence[Path]
) -> list[ExportRow]:
    """Write one network in all formats and keep what sounds as it does in Keras."""
    trained = TrainedNetwork.load(stem)
    sound = RealSound.load(trained.card, sounds)
    wanted = sound.denoise(trained.run)
    # Keras takes no state: a causal network has no speed there that compares.
    cost = None if trained.card.streaming else milliseconds_per_second(trained.run, sound)
    rows = [ExportRow(stem.name, "keras", trained.saved.name, size(trained.saved), cost)]
    written = []
    with writing(folder), atomic.partial_folder(folder) as partial:
        for name, exporter in exporters.items():
            path = Path(partial, f"{stem.name}{exporter.suffix}")
            row = ExportRow(stem.name, name, path.name)
            try:
                exporter.write(trained, path, sound.inputs)
                rows.append(proved(row, exporter, path, sound, wanted))
                written.append(path)
            except OSError:
                raise
            except Exception as error:  # converters raise whatever they meet
                if full := full_disk(error):
                    raise full from error
                rows.append(dataclasses.replace(row, reason=first_line(error)))
        # Only now, since a disk that is full must not leave files without their card.
        kept = [keep(path, folder) for path in written]
    save_cards(trained, kept)
    return rows


def proved(
    row: ExportRow, exporter: Exporter, path: Path, sound: RealSound, wanted: np.ndarray
) -> ExportRow:
    """Compare an exported network with Keras; gives its row of the report.

    Raises:
        UserError: it does not run, or does not sound as it does in Keras.
    """
    network = exporter.read(path, sound.card)
    apart = difference(wanted, sound.denoise(network), sound.card.audio.sample_rate)
    if apart.si_sdr_db < exporter.least_si_sdr_db or apart.max_abs > exporter.largest_difference:
        raise UserError(
            f"its sound differs from that of Keras: SI-SDR {apart.si_sdr_db:.1f} dB of at least "
            f"{exporter.least_si_sdr_db:g}, and {apart.max_abs:.2g} of at most "
            f"{exporter.largest_difference:g} in a sample"
        )
    cost = milliseconds_per_second(network, sound)
    return dataclasses.replace(row, n_bytes=size(path), ms_per_s=cost, **dataclasses.asdict(apart))


def keep(path: Path, folder: Path) -> Path:
    """Move a file or folder to its place, in that of an older one."""
    target = folder / path.name
    if target.is_dir():
        shutil.rmtree(target)
    return path.replace(target)


def save_cards(trained: TrainedNetwork, kept: list[Path]) -> None:
    """Lay a card beside exported networks, so that --mode prediction can run them."""
    files = {path: file_sha256(path) for path in kept if path.is_file()}
    for stem in {path.with_suffix("") for path in files}:
        digests = {path.suffix: sha for path, sha in files.items() if path.with_suffix("") == stem}
        path = network_files.file_of(stem, network_files.CARD)
        card = dataclasses.replace(
            trained.card, sha256=earlier_digests(path, trained.card) | digests
        )
        card.save(path)


def earlier_digests(path: Path, card: ModelCard) -> dict[str, str]:
    """Digests of files of the same network that an earlier export left beside its card."""
    try:
        earlier = ModelCard.load(path)
    except UserError:
        return {}
    if dataclasses.replace(earlier, sha256=card.sha256) != card:
        return {}
    files = {suffix: path.with_suffix(suffix) for suffix in earlier.sha256}
    return {
        suffix: earlier.sha256[suffix]
        for suffix, file in files.items()
        if file.is_file() and file_sha256(file) == earlier.sha256[suffix]
    }


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def full_disk(error: Exception) -> OSError | None:
    """The full disk that a converter speaks of, since TensorFlow raises an error of its own."""
    for number in FULL:
        if os.strerror(number) in str(error):
            return OSError(number, os.strerror(number))
    return None


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise a `UserError` of one sentence if the folder cannot be written.

    Raises:
        UserError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror or error}") from error
