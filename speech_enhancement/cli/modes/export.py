"""--mode export: networks in the formats of other programs, each proved on real recordings."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from speech_enhancement import places, registry
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.export import report
from speech_enhancement.export.check import RealSound, difference, milliseconds_per_second
from speech_enhancement.export.formats import Exporter, TrainedNetwork, check_packages
from speech_enhancement.export.report import ExportRow
from speech_enhancement.files import atomic, audio_io, provenance
from speech_enhancement.inference import runtime
from speech_enhancement.inference.card import ModelCard, file_sha256

RECORDINGS = places.DEMO_DATA / "noisy"
PACKAGES = ("keras", "tensorflow", "onnxruntime", "tf2onnx", "ai-edge-litert")


def run(options: argparse.Namespace) -> int:
    """Export the networks that the options name; 1 if any of them could not be kept."""
    exporters = exporters_of(options.formats)
    stems = networks(options)
    folder = make_folder(options)
    runtime.limit_keras_threads(1)
    rows = []
    for stem in stems:
        rows += export_network(stem, exporters, folder)
    report.save(folder, rows, provenance.circumstances(PACKAGES))
    print(report.table(rows))
    print(f"Wrote {folder / 'export.md'}")
    failed = [row for row in rows if row.reason]
    for row in failed:
        print(f"not kept: {row.file}: {row.reason}", file=sys.stderr)
    return 1 if failed else 0


def exporters_of(formats: list[str]) -> dict[str, Exporter]:
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


def networks(options: argparse.Namespace) -> list[Path]:
    """Stems of the networks to export.

    Raises:
        UserError: one of them is missing.
    """
    names = options.models or [options.name_model]
    folder = places.folder_of_networks(options.weights_folder)
    if names == ["all"]:
        names = sorted(path.stem for path in folder.glob("*.keras"))
    if not names:
        raise UserError(f"There are no networks in {folder}")
    stems = [places.network_stem(options.weights_folder, name) for name in names]
    for stem in stems:
        runtime.network_path(stem, "keras")
    return stems


def make_folder(options: argparse.Namespace) -> Path:
    """The folder of the results.

    Raises:
        UsageError: it is that of the weights, whose files bear the same names.
        UserError: it cannot be made.
    """
    folder = options.export_dir
    if folder.resolve() == options.weights_folder.resolve():
        raise UsageError(f"`export_dir` must not be `weights_folder`. Received: {folder}")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def export_network(stem: Path, exporters: dict[str, Exporter], folder: Path) -> list[ExportRow]:
    """Write one network in all formats and keep what sounds as it does in Keras."""
    trained = TrainedNetwork.load(stem)
    sound = RealSound.load(trained.card, audio_io.find_audio_files(RECORDINGS))
    wanted = sound.denoise(trained.run)
    # Keras takes no state: a causal network has no speed there that compares.
    cost = None if trained.card.streaming else milliseconds_per_second(trained.run, sound)
    rows = [ExportRow(stem.name, "keras", trained.saved.name, size(trained.saved), cost)]
    kept = []
    with writing(folder), atomic.partial_folder(folder) as partial:
        for name, exporter in exporters.items():
            path = Path(partial, f"{stem.name}{exporter.suffix}")
            row = ExportRow(stem.name, name, path.name)
            try:
                exporter.write(trained, path, sound.inputs)
                rows.append(proved(row, exporter, path, sound, wanted))
                kept.append(keep(path, folder))
            except OSError:
                raise
            except Exception as error:  # converters raise whatever they meet
                rows.append(dataclasses.replace(row, reason=first_line(error)))
    save_cards(trained, kept)
    return rows


def proved(
    row: ExportRow, exporter: Exporter, path: Path, sound: RealSound, wanted: np.ndarray
) -> ExportRow:
    """The row with the figures of an exported network.

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
        path = stem.with_name(f"{stem.name}.json")
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


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what the system says when a folder cannot be written, in one sentence.

    Raises:
        UserError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror or error}") from error
