"""Figures of an evaluation, returned and never shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speech_enhancement.config import AudioConfig
from speech_enhancement.scoring.scorer import Row
from speech_enhancement.scoring.summary import COLUMNS, SNR_STEP_DB, improvements
from speech_enhancement.signal import dsp

RANGE_DB = 80.0
WINDOW_S = 0.032
PANELS_ABREAST = 3


def improvement_figure(rows: Sequence[Row], metrics: Sequence[str]) -> Figure:
    """Gain over the noisy input against its SNR: a point a file, a line of the bands' means."""
    figure, axes = _panels(len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        for number, (system, points) in enumerate(improvements(rows, metric).items()):
            colour = _colour(number)
            axis.scatter(points[:, 0], points[:, 1], 9, color=colour, alpha=0.3, linewidths=0)
            axis.plot(*_band_means(points), marker="o", color=colour, label=system)
        axis.axhline(0.0, color="0.4", linewidth=0.8)
        axis.set_xlabel("input SNR (dB)")
        axis.set_ylabel(f"{COLUMNS[metric].label}, gain over noisy")
        axis.grid(alpha=0.3)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _band_means(points: np.ndarray) -> tuple[list[float], list[float]]:
    """Middle and mean gain of each band of input SNR."""
    bands = np.floor(points[:, 0] / SNR_STEP_DB)
    middles = [(band + 0.5) * SNR_STEP_DB for band in np.unique(bands)]
    return middles, [points[bands == band, 1].mean() for band in np.unique(bands)]


def distribution_figure(rows: Sequence[Row], metrics: Sequence[str]) -> Figure:
    """Scores of all files, by system: quartiles, whiskers to the 5th and 95th percentile."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    figure, axes = _panels(len(metrics), height=1.0 + 0.3 * len(systems))
    for number, (axis, metric) in enumerate(zip(axes, metrics, strict=True)):
        values = [_values(rows, system, metric) for system in systems]
        axis.boxplot(
            values,
            whis=(5, 95),
            orientation="horizontal",
            flierprops={"markersize": 2},
            tick_labels=systems,
        )
        axis.invert_yaxis()
        axis.set_xlabel(COLUMNS[metric].label)
        axis.grid(alpha=0.3, axis="x")
        if number % PANELS_ABREAST:
            axis.set_yticklabels([])
    return figure


def _values(rows: Sequence[Row], system: str, metric: str) -> list[float]:
    """Scores of one system on all files that have one."""
    return [
        row["scores"][metric]
        for row in rows
        if row["system"] == system and metric in row.get("scores", {})
    ]


def _panels(count: int, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of panels."""
    across = min(count, PANELS_ABREAST)
    down = -(-count // across)
    figure = Figure(figsize=(5.0 * across, height * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def _colour(number: int) -> tuple[float, float, float, float]:
    """A colour for each of up to 20 systems, the strong ones first."""
    return colormaps["tab20"]((2 * number + number // 10) % 20)


def spectrogram_figure(picture: np.ndarray, rate: int, seconds: float, highest_db: float) -> Figure:
    """One spectrogram of a page, without a title.

    Args:
        picture: decibels (bins, columns).
        rate: Hz.
        seconds: duration.
        highest_db: the brightest colour, the same for all pictures that are compared.
    """
    figure = Figure(figsize=(6.0, 2.2), layout="constrained")
    axis = figure.add_subplot()
    axis.imshow(
        picture,
        origin="lower",
        aspect="auto",
        extent=(0.0, seconds, 0.0, rate / 2000),
        vmin=highest_db - RANGE_DB,
        vmax=highest_db,
        cmap="magma",
    )
    axis.set_ylabel("kHz")
    axis.set_xlabel("time (s)")
    return figure


def example_figure(sounds: dict[str, np.ndarray], rate: int, title: str) -> Figure:
    """Spectrograms of one pair below each other, on the same colour scale.

    Args:
        sounds: waveforms (samples,) by name.
        rate: Hz.
        title: what is to be seen.
    """
    figure = Figure(figsize=(9.0, 2.2 * len(sounds)), layout="constrained")
    axes = list(figure.subplots(len(sounds), 1, sharex=True, squeeze=False)[:, 0])
    n_fft = round(WINDOW_S * rate)
    audio = AudioConfig(rate, n_fft, n_fft // 4, frame_length=n_fft)
    pictures = [dsp.spectrogram_to_db(dsp.stft(sound, audio)) for sound in sounds.values()]
    highest = max(float(picture.max()) for picture in pictures)
    for axis, name, picture in zip(axes, sounds, pictures, strict=True):
        image = axis.imshow(
            picture,
            origin="lower",
            aspect="auto",
            extent=(0.0, len(sounds[name]) / rate, 0.0, rate / 2000),
            vmin=highest - RANGE_DB,
            vmax=highest,
            cmap="magma",
        )
        axis.set_ylabel(f"{name}\n(kHz)")
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="dB")
    figure.suptitle(title.replace("$", r"\$"))
    return figure
