"""One recording from disk to disk through an `Enhancer`, in memory that its length does not touch.

The recording is read twice: once for its level and for samples that are no numbers, once to be
denoised. The outputs appear under their names when all of it is done, or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from speech_enhancement.errors import UsageError, UserError, printable
from speech_enhancement.files import wav_chunks
from speech_enhancement.files.audio_files import (
    BLOCK_VALUES,
    HOLDS,
    RawFormat,
    Recording,
    fitting_suffix,
    output_format,
    writing,
)
from speech_enhancement.inference.enhancer import (
    Enhancer,
    StreamingEnhancer,
    check_channels,
    check_rate,
)
from speech_enhancement.signal import levels
from speech_enhancement.signal.dsp import TINY
from speech_enhancement.signal.loudness import LoudnessMeter

PEAK_LIMIT_DBFS = -1.0
# Shares of power below which a network left nearly nothing, and an average lost what it should not.
NEARLY_NOTHING = 1e-4
CANCELLED = 0.1

Sink = Callable[[np.ndarray, np.ndarray], None]
Progress = Callable[[int, int, int], None]


@dataclasses.dataclass(frozen=True)
class FileOptions:
    """What else is done to each recording.

    Args:
        raw: how to read it if it has no header.
        mono: average its channels first.
        start_s, end_s: the part to keep, seconds; all by default.
        keep_level: give the sound back at its own level, not at the network's.
        normalise_lufs: loudness to bring the result to, LUFS; its own by default.
        save_noise: also write what was removed.
        plot: also write a picture.
        dark_plot: and one for dark pages.
        sound_track: which of the sounds in a video, from 1; the first by default.

    Raises:
        UsageError: nothing lies between start and end.
    """

    raw: RawFormat | None = None
    mono: bool = False
    start_s: float = 0.0
    end_s: float | None = None
    keep_level: bool = True
    normalise_lufs: float | None = None
    save_noise: bool = False
    plot: bool = False
    dark_plot: bool = False
    sound_track: int | None = None

    def __post_init__(self) -> None:
        """Check that the part is not empty."""
        if self.end_s is not None and self.end_s <= self.start_s:
            raise UsageError(
                f"`end` must be after `start` ({self.start_s:g} s). Received: {self.end_s:g} s"
            )


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found and done.

    Args:
        audio_s: length of the output, seconds.
        sample_rate: Hz.
        channels: channels of the output.
        level_in_dbfs, level_out_dbfs: active levels of the loudest channel before and after.
        clipped: samples of the output that were beyond full scale.
        notes: what else a listener should know, a sentence each.
    """

    audio_s: float
    sample_rate: int
    channels: int
    level_in_dbfs: float
    level_out_dbfs: float
    clipped: int
    notes: list[str] = dataclasses.field(default_factory=list)


def noise_path(target: Path) -> Path:
    """Where the removed noise goes."""
    return target.with_name(f"{target.stem}_noise{target.suffix}")


def picture_path(target: Path) -> Path:
    """Where the picture goes."""
    return target.with_name(f"{target.stem}.png")


def dark_picture_path(target: Path) -> Path:
    """Where the picture for dark pages goes."""
    return target.with_name(f"{target.stem}_dark.png")


def result_paths(target: Path, options: FileOptions) -> list[Path]:
    """All files that denoising to `target` writes."""
    paths = [target]
    if options.save_noise:
        paths.append(noise_path(target))
    if options.plot:
        paths.append(picture_path(target))
    if options.dark_plot:
        paths.append(dark_picture_path(target))
    return paths


def fitting_target(source: Path, target: Path, options: FileOptions) -> tuple[Path, list[str]]:
    """Where a result goes: `target`, or one beside it whose format holds the recording.

    Args:
        source: the recording.
        target: where it was wanted.
        options: what else is done to it.

    Returns:
        The path, and a note where it is another.

    Raises:
        UserError: the recording cannot be read.
    """
    if target.suffix.lower() not in HOLDS:
        return target, []
    kind = Recording(source, options.raw, options.sound_track).format
    channels = 1 if options.mono else kind.channels
    suffix = fitting_suffix(target, kind.sample_rate, channels)
    if suffix == target.suffix:
        return target, []
    what = f"{channels} {'channel' if channels == 1 else 'channels'} at {kind.sample_rate} Hz"
    note = f"{target.suffix} does not hold {what}, so that the result is {suffix}"
    return target.with_suffix(suffix), [note]


def denoise_file(
    enhancer: Enhancer,
    source: Path,
    target: Path,
    options: FileOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Denoise one recording.

    Args:
        enhancer: the network and its settings.
        source: the recording; never modified.
        target: the output; its suffix names the container, all else stays the recording's.
        options: what else to do.
        progress: called with samples done, samples in all and their rate in Hz.

    Raises:
        UserError: the recording cannot be read or denoised, or the output cannot be written.
    """
    options = options or FileOptions()
    check_replaceable(target, source, options)
    recording = Recording(source, options.raw, options.sound_track)
    n_samples, active_rms, notes = _survey(recording, options)
    rate, channels = recording.format.sample_rate, len(active_rms)
    stream = enhancer.stream(rate, channels, 0, active_rms, live=False)
    begin, end = _selection(options, rate)
    is_whole = begin == 0 and (end is None or n_samples < end)
    chunks = wav_chunks.cut(recording.format.chunks, begin, is_whole)
    sound_format = dataclasses.replace(recording.format, channels=channels, chunks=chunks)
    sound_format = output_format(target, sound_format, n_samples)
    meter = levels.LevelMeter(rate, channels)
    notes = [*recording.notes, *notes]
    removal = _Removal()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(writing(target, sound_format))
        sinks: list[Sink] = [removal.feed]
        if options.save_noise:
            noise = stack.enter_context(writing(noise_path(target), sound_format))
            sinks.append(lambda noisy, clean: noise.write(noisy - clean))
        if options.plot:
            drawn = _picture(target, source.name, rate, n_samples, notes, options.dark_plot)
            sinks.append(stack.enter_context(drawn))
        if progress is not None:
            sinks.append(_counter(progress, n_samples, rate))
        denoised = _denoised(_selected(recording, options), stream, sinks)
        for block in _levelled(denoised, enhancer, options, active_rms, rate, target.parent, notes):
            meter.feed(block)
            writer.write(block)
    if removal.is_nearly_all():
        notes.append("the network removed nearly all of the sound")
    return Report(
        audio_s=round(n_samples / rate, 3),
        sample_rate=rate,
        channels=channels,
        level_in_dbfs=_dbfs(active_rms),
        level_out_dbfs=_dbfs(meter.active_rms()),
        clipped=writer.clipped,
        notes=notes,
    )


def check_replaceable(target: Path, source: Path, options: FileOptions) -> None:
    """Refuse results that would take the place of the recording, of a folder or of a device.

    Raises:
        UserError: one of them would.
    """
    for path in filter(Path.exists, result_paths(target, options)):
        if path.samefile(source):
            raise UserError(f"{path} is the recording itself; choose another folder or --suffix")
        if not path.is_file():
            raise UserError(f"Cannot write {path}: it is not a file")


def _dbfs(rms: np.ndarray) -> float:
    """Level of the loudest channel, dBFS."""
    return round(float(20.0 * np.log10(max(rms.max(), TINY))), 2)


class _Removal:
    """How much of the sound a network left, by power."""

    def __init__(self) -> None:
        self._before = self._after = 0.0

    def feed(self, noisy: np.ndarray, clean: np.ndarray) -> None:
        """Take a block before and after."""
        self._before += float(np.vdot(noisy, noisy))
        self._after += float(np.vdot(clean, clean))

    def is_nearly_all(self) -> bool:
        """Whether hardly anything is left of what was there."""
        return self._after < NEARLY_NOTHING * self._before


def _survey(recording: Recording, options: FileOptions) -> tuple[int, np.ndarray, list[str]]:
    """First reading: the number of samples, the active level of each channel, and notes."""
    loss = _AverageLoss()
    try:
        rate = check_rate(recording.format.sample_rate)
        channels = check_channels(1 if options.mono else recording.format.channels)
        meter = levels.LevelMeter(rate, channels)
        n_samples = 0
        for whole in _pieces(recording, options):
            block = _mixed(whole, options)
            meter.feed(block)
            loss.feed(whole, block)
            n_samples += block.shape[1]
    except UserError as error:
        text = str(error)
        about = "" if str(recording.path) in text else f"{recording.path}: "
        raise UserError(about + text) from error
    if not n_samples:
        part = f" from {options.start_s:g} s on" if options.start_s else ""
        raise UserError(f"No samples in {recording.path}{part}")
    active_rms = meter.active_rms()
    if active_rms.max() < TINY:
        return n_samples, active_rms, [loss.note() or "there is only silence in it"]
    return n_samples, active_rms, [loss.note()] if loss.note() else []


class _AverageLoss:
    """How much of the sound the average of its channels loses, by power."""

    def __init__(self) -> None:
        self._channels = self._average = 0.0
        self._n_channels = 1

    def feed(self, channels: np.ndarray, average: np.ndarray) -> None:
        """Take a block (channels, samples), and its average or itself."""
        self._n_channels = len(channels)
        self._channels += float(np.vdot(channels, channels)) / len(channels)
        self._average += float(np.vdot(average, average)) / len(average)

    def note(self) -> str:
        """A note, if averaging loses far more than it would with unrelated channels."""
        expected = self._channels / self._n_channels
        if self._average >= CANCELLED * expected:
            return ""
        return "its channels cancel each other, so that --mono leaves little or nothing of them"


def _selection(options: FileOptions, rate: int) -> tuple[int, int | None]:
    """First sample of the part that was asked for, and the one after its last, if it has one."""
    end = None if options.end_s is None else round(options.end_s * rate)
    return round(options.start_s * rate), end


def _pieces(recording: Recording, options: FileOptions) -> Iterator[np.ndarray]:
    """The part that was asked for, of all channels."""
    return recording.blocks(*_selection(options, recording.format.sample_rate))


def _mixed(block: np.ndarray, options: FileOptions) -> np.ndarray:
    """The channels of a block that were asked for."""
    return block.mean(axis=0, keepdims=True) if options.mono else block


def _selected(recording: Recording, options: FileOptions) -> Iterator[np.ndarray]:
    """The part and the channels that were asked for."""
    return (_mixed(block, options) for block in _pieces(recording, options))


def _denoised(
    blocks: Iterable[np.ndarray], stream: StreamingEnhancer, sinks: list[Sink]
) -> Iterator[np.ndarray]:
    """Denoised blocks; each is also shown to the sinks, with the noisy samples it was."""
    waiting: list[np.ndarray] = []
    for noisy in blocks:
        waiting.append(noisy)
        yield from _shown(waiting, stream.feed(noisy), sinks)
    yield from _shown(waiting, stream.flush(), sinks)


def _shown(waiting: list[np.ndarray], clean: np.ndarray, sinks: list[Sink]) -> Iterator[np.ndarray]:
    """Pass a clean block to the sinks with the noisy samples that belong to it."""
    ready = clean.shape[1]
    if not ready:
        return
    noisy = np.concatenate(waiting, axis=1)
    waiting[:] = [noisy[:, ready:]]
    for sink in sinks:
        sink(noisy[:, :ready], clean)
    yield clean


def _counter(progress: Progress, n_samples: int, rate: int) -> Sink:
    """A sink that reports how far the work is."""
    done = 0

    def count(noisy: np.ndarray, clean: np.ndarray) -> None:
        nonlocal done
        done += clean.shape[1]
        progress(done, n_samples, rate)

    return count


@contextlib.contextmanager
def _picture(
    target: Path, title: str, rate: int, n_samples: int, notes: list[str], dark: bool
) -> Iterator[Sink]:
    """A sink for a picture, which is written at the end; what prevents it is a note."""
    from speech_enhancement.inference import pictures

    picture = pictures.RecordingPicture(rate, n_samples)
    yield picture.feed
    try:
        picture.finish()
        figure = pictures.recording_figure(picture, printable(title))
        pictures.save_figure(figure, picture_path(target))
        if dark:
            pictures.darken(figure)
            pictures.save_figure(figure, dark_picture_path(target))
    except Exception as error:  # the sound is there, whatever a picture of it lacks
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        notes.append(f"there is no picture: {reason}")


def _levelled(
    blocks: Iterator[np.ndarray],
    enhancer: Enhancer,
    options: FileOptions,
    active_rms: np.ndarray,
    rate: int,
    folder: Path,
    notes: list[str],
) -> Iterator[np.ndarray]:
    """The blocks at the level that was asked for; a note says if that cannot be reached."""
    if options.normalise_lufs is not None:
        return _normalised(blocks, options.normalise_lufs, rate, len(active_rms), folder, notes)
    if options.keep_level:
        return blocks
    gain = levels.gains_to_level(active_rms.max(keepdims=True), enhancer.card.level_dbfs)
    return (gain * block for block in blocks)


def _normalised(
    blocks: Iterable[np.ndarray],
    lufs: float,
    rate: int,
    channels: int,
    folder: Path,
    notes: list[str],
) -> Iterator[np.ndarray]:
    """The blocks at a loudness, by way of a nameless file in `folder`.

    The loudest sample stays 1 dB below full scale, even if the loudness is then not reached, which
    a note says.
    """
    meter = LoudnessMeter(rate, channels)
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            meter.feed(block)
            file.write(block.T.astype(np.float32).tobytes())
        gain_db, missing_db = _loudness_gain_db(meter, lufs)
        gain = np.float32(10.0 ** (gain_db / 20.0))
        if missing_db > 0.05:
            notes.append(
                f"the loudness is {lufs - missing_db:.1f} LUFS, for the loudest sample may not be "
                f"above {PEAK_LIMIT_DBFS:g} dBFS"
            )
        file.seek(0)
        size = max(1, BLOCK_VALUES // channels) * channels * np.float32().itemsize
        while data := file.read(size):
            yield gain * np.frombuffer(data, np.float32).reshape(-1, channels).T


def _loudness_gain_db(meter: LoudnessMeter, lufs: float) -> tuple[float, float]:
    """Gain to a loudness that does not clip, 0 for silence, and how much is then missing, dB."""
    if not np.isfinite(meter.integrated_lufs()):
        return 0.0, 0.0
    wanted_db = lufs - meter.integrated_lufs()
    headroom_db = PEAK_LIMIT_DBFS - 20.0 * np.log10(max(meter.peak, TINY))
    return float(min(wanted_db, headroom_db)), float(max(wanted_db - headroom_db, 0.0))
