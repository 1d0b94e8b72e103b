"""Figures, returned and never shown. Recordings of any length are gathered block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from speech_enhancement.files import atomic
from speech_enhancement.signal import dsp

COLUMNS = 1200
FRAMES_PER_COLUMN = 16
FRAME_S = 0.03
EDGE_COLUMNS = 8
DARK, LIGHT = "#0b0f19", "#d1d5db"  # of pages that are dark, as of Gradio's
RANGE_DB = 80.0
LOWEST_DB = -100.0
SHORT_S = 120
TICKS_S = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
LEVEL_S = 0.05
ROWS = ("noisy", "denoised", "removed")
COLOURS = ("0.6", "tab:blue", "tab:red")


class RecordingPicture:
    """Gathers what a figure of a recording needs: bounded, however long the recording is.

    Spectrogram and envelope have at most some 1200 columns. In a long recording each column of the
    spectrogram is the mean of 16 STFT frames that lie evenly in its time.

    Args:
        sample_rate: Hz.
        n_samples: length of the recording.
    """

    def __init__(self, sample_rate: int, n_samples: int) -> None:
        self.sample_rate, self.n_samples = sample_rate, n_samples
        self._n_fft = 2 ** max(6, round(math.log2(FRAME_S * sample_rate)))
        self._hop = max(self._n_fft // 4, -(-n_samples // (COLUMNS * FRAMES_PER_COLUMN)))
        n_frames = 1 + n_samples // self._hop
        self._frames_per_column = -(-n_frames // COLUMNS)
        self._power = np.zeros((3, -(-n_frames // self._frames_per_column), self._n_fft // 2 + 1))
        self._count = np.zeros(self._power.shape[1])
        self._frame = self._next = 0
        self._sound = np.zeros((3, self._n_fft // 2), np.float32)
        self._column_length = max(1, -(-n_samples // COLUMNS))
        self._rest = np.zeros((3, 0), np.float32)
        self._envelope: list[np.ndarray] = []

    def feed(self, noisy: np.ndarray, denoised: np.ndarray) -> None:
        """Take the next block of both, (channels, samples); channels are averaged."""
        pair = np.stack([noisy.mean(axis=0), denoised.mean(axis=0)])
        block = np.concatenate([pair, pair[:1] - pair[1:]]).clip(-dsp.LOUDEST, dsp.LOUDEST)
        self._add_spectra(block)
        self._add_envelope(block)

    def finish(self) -> None:
        """Say that there is no more."""
        self._add_spectra(np.zeros((3, self._n_fft), np.float32))
        if self._rest.shape[1]:
            self._envelope.append(_envelope(self._rest[:, np.newaxis]))
            self._rest = self._rest[:, :0]

    def spectrograms_db(self) -> np.ndarray:
        """Power of noisy, denoised and removed sound, dB, (3, bins, columns)."""
        power = self._power / np.maximum(self._count, 1)[:, np.newaxis]
        window = dsp.stft_window("hann", self._n_fft).sum() / 2.0
        decibels = 10.0 * np.log10(np.maximum(power / window**2, 10.0 ** (LOWEST_DB / 10.0)))
        return np.swapaxes(decibels, 1, 2)

    def envelopes(self) -> np.ndarray:
        """Lowest sample, highest sample and level (dBFS) of each column, (3, 3, columns).

        The level is that of 50 ms at least.
        """
        lowest, highest, power = np.concatenate(self._envelope, axis=-1)
        width = max(1, round(LEVEL_S * self.sample_rate / self._column_length))
        width = min(width, power.shape[1])
        weight = np.convolve(np.ones(power.shape[1]), np.ones(width), "same")
        power = np.stack([np.convolve(row, np.ones(width), "same") for row in power]) / weight
        level_db = 10.0 * np.log10(np.maximum(power, 10.0 ** (LOWEST_DB / 10.0)))
        return np.stack([lowest, highest, level_db])

    def _add_spectra(self, block: np.ndarray) -> None:
        """Add the frames that are complete to their columns."""
        self._sound = np.concatenate([self._sound, block], axis=1)
        window = dsp.stft_window("hann", self._n_fft)
        while self._next + self._n_fft <= self._sound.shape[1]:
            frame = self._sound[:, self._next : self._next + self._n_fft]
            column = min(self._frame // self._frames_per_column, len(self._count) - 1)
            self._power[:, column] += np.square(np.abs(np.fft.rfft(frame * window)))
            self._count[column] += 1
            self._frame += 1
            self._next += self._hop
        passed = min(self._next, self._sound.shape[1])
        self._sound = self._sound[:, passed:]
        self._next -= passed

    def _add_envelope(self, block: np.ndarray) -> None:
        """Add the columns that are complete."""
        sound = np.concatenate([self._rest, block], axis=1)
        whole = sound.shape[1] // self._column_length * self._column_length
        self._rest = sound[:, whole:]
        self._envelope.append(_envelope(sound[:, :whole].reshape(3, -1, self._column_length)))


def _envelope(columns: np.ndarray) -> np.ndarray:
    """Lowest and highest sample and power of columns (3, columns, samples): (3, 3, columns)."""
    power = np.einsum("rcs,rcs->rc", columns, columns) / columns.shape[-1]
    return np.stack(
        [columns.min(axis=-1, initial=np.inf), columns.max(axis=-1, initial=-np.inf), power]
    )


def recording_figure(picture: RecordingPicture, title: str = "") -> Figure:
    """Spectrograms on one colour scale, waveforms and levels of a recording before and after.

    Args:
        picture: all of the recording.
        title: one line, usually the file's name.
    """
    figure = Figure(figsize=(12, 11))
    grid = figure.add_gridspec(
        5, 2, height_ratios=(3, 3, 3, 2, 2), width_ratios=(60, 1), hspace=0.12, wspace=0.03
    )
    axes = [figure.add_subplot(grid[0, 0])]
    axes += [figure.add_subplot(grid[row, 0], sharex=axes[0]) for row in range(1, 5)]
    seconds = picture.n_samples / picture.sample_rate
    image = _draw_spectrograms(axes[:3], picture, seconds)
    figure.colorbar(image, cax=figure.add_subplot(grid[:3, 1]), label="dBFS")
    _draw_envelopes(axes[3], axes[4], picture, seconds)
    for axis in axes[:4]:
        axis.tick_params(labelbottom=False)
    _label_time(axes[4], seconds)
    axes[0].set_title(title.replace("$", r"\$"))
    return figure


def _label_time(axis: Axes, seconds: float) -> None:
    """Seconds, or round hours, minutes and seconds."""
    axis.set_xlim(0.0, max(seconds, 1e-3))
    axis.set_xlabel("time (s)" if seconds < SHORT_S else "time (h:min:s)")
    if seconds >= SHORT_S:
        step = next((s for s in TICKS_S if seconds / s <= 12), TICKS_S[-1])
        axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value, seconds)))


def _draw_spectrograms(axes: list[Axes], picture: RecordingPicture, seconds: float) -> AxesImage:
    """Noisy, denoised and removed, one below the other; gives the last image."""
    spectrograms = picture.spectrograms_db()
    highest = float(spectrograms.max())
    top_khz = _occupied(spectrograms, highest - RANGE_DB) * picture.sample_rate / 2000
    for name, axis, spectrogram in zip(ROWS, axes, spectrograms, strict=True):
        image = draw_spectrogram(axis, spectrogram, seconds, picture.sample_rate, highest)
        axis.set_ylim(0.0, top_khz)
        axis.set_ylabel(f"{name}\n(kHz)")
    return image


def draw_spectrogram(
    axis: Axes, spectrogram: np.ndarray, seconds: float, sample_rate: int, highest: float
) -> AxesImage:
    """Draw a spectrogram over seconds and kilohertz.

    Args:
        axis: where.
        spectrogram: dB, (bins, columns).
        seconds: its length.
        sample_rate: Hz.
        highest: brightest level, dB; `RANGE_DB` below it is the darkest.
    """
    return axis.imshow(
        spectrogram,
        origin="lower",
        aspect="auto",
        extent=(0.0, seconds, 0.0, sample_rate / 2000),
        vmin=highest - RANGE_DB,
        vmax=highest,
        cmap="magma",
    )


def _occupied(spectrograms: np.ndarray, lowest_db: float) -> float:
    """The part of the frequencies, 0..1, that is not empty above; all where half of them is used.

    So a recording of a telephone fills its picture, whatever rate it was saved at. The abrupt
    beginning and end of a recording, which have all frequencies, are not counted.
    """
    if spectrograms.shape[-1] <= EDGE_COLUMNS:
        return 1.0
    loud_db = np.sort(spectrograms, axis=-1)[..., -1 - EDGE_COLUMNS].max(axis=0)
    audible = np.flatnonzero(loud_db > max(lowest_db, LOWEST_DB))
    part = 1.1 * (audible[-1] + 1) / len(loud_db) if len(audible) else 1.0
    return max(part, 0.02) if part < 0.5 else 1.0


def _draw_envelopes(waveform: Axes, level: Axes, picture: RecordingPicture, seconds: float) -> None:
    """The waveforms of noisy and denoised on one axis, the levels of all three on another."""
    lowest, highest, level_db = picture.envelopes()
    time = np.linspace(0.0, seconds, lowest.shape[1])
    for row, (name, colour) in enumerate(zip(ROWS, COLOURS, strict=True)):
        level.plot(time, level_db[row], color=colour, label=name, linewidth=0.8)
        if name != "removed":
            waveform.fill_between(
                time, lowest[row], highest[row], color=colour, label=name, linewidth=0.3
            )
    waveform.set_ylabel("waveform")
    level.set_ylabel("level (dBFS)")
    loudest = float(level_db.max())
    level.set_ylim(loudest - RANGE_DB, loudest + 3.0)
    for axis in (waveform, level):
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def clock(seconds: float, total: float) -> str:
    """A time for an axis of `total` seconds: seconds, or h:min:s for long recordings."""
    if total < SHORT_S:
        return f"{seconds:g}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def comparison_figure(waveforms: dict[str, np.ndarray], sample_rate: int) -> Figure:
    """A spectrogram and a waveform of each of several versions of one recording.

    Args:
        waveforms: by name, (samples,) each.
        sample_rate: Hz.
    """
    figure = Figure(figsize=(12, 2.4 * len(waveforms)), layout="constrained")
    axes = figure.subplots(len(waveforms), 2, sharex=True, squeeze=False, width_ratios=(3, 2))
    spectrograms = [spectrogram_db(waveform, sample_rate) for waveform in waveforms.values()]
    highest = max(float(spectrogram.max()) for spectrogram in spectrograms)
    loudest = max(float(np.abs(waveform).max()) for waveform in waveforms.values())
    for (name, waveform), spectrogram, (left, right) in zip(
        waveforms.items(), spectrograms, axes, strict=True
    ):
        seconds = len(waveform) / sample_rate
        image = draw_spectrogram(left, spectrogram, seconds, sample_rate, highest)
        left.set_ylabel(f"{name}\n(kHz)")
        right.plot(np.arange(len(waveform)) / sample_rate, waveform, linewidth=0.3)
        right.set_ylim(-loudest, loudest)
    figure.colorbar(image, ax=axes[:, 0], label="dBFS")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    return figure


def spectrogram_db(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of a waveform of any length, dB, (bins, columns), at most some 1200 columns."""
    picture = RecordingPicture(sample_rate, len(waveform))
    picture.feed(waveform[np.newaxis], waveform[np.newaxis])
    picture.finish()
    return picture.spectrograms_db()[0]


def plot_losses(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Training and validation loss over the epochs.

    Args:
        rows: `epoch` from zero, `loss` and `val_loss` of each epoch.
    """
    figure = Figure(figsize=(7, 4.5))
    draw_losses(figure.add_subplot(), rows)
    return figure


def draw_losses(axis: Axes, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw what `plot_losses` shows, on a log scale where the losses allow it."""
    epochs = [row["epoch"] + 1 for row in rows]
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        axis.plot(epochs, [row[name] for row in rows], marker=".", label=label)
    if all(row[name] > 0 for row in rows for name in ("loss", "val_loss")):
        axis.set_yscale("log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    axis.set_ylabel("loss")
    axis.grid(alpha=0.3, which="both")
    axis.legend()


def darken(figure: Figure) -> None:
    """Turn a figure into one for pages that are dark: light lines and words on nearly black."""
    figure.set_facecolor(DARK)
    for axes in figure.axes:
        axes.set_facecolor(DARK)
        axes.tick_params(colors=LIGHT, which="both")
        for spine in axes.spines.values():
            spine.set_edgecolor(LIGHT)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set_facecolor(DARK)
    for text in figure.findobj(Text):
        text.set_color(LIGHT)


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> None:
    """Write a figure; the format follows the suffix.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, bbox_inches="tight")
