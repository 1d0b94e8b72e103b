"""Pictures of a search of hyper-parameters, returned and never shown."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

DESCRIPTIONS = ("trial", "status")
LOG_RANGE = 30.0


def parallel_coordinates(rows: Sequence[dict[str, Any]], objective: str) -> Figure:
    """One line for each trial that has a score, through its values, coloured by the score.

    Args:
        rows: trials as `search.rows` gives them.
        objective: key of the score.
    """
    scored = [row for row in rows if row[objective] is not None]
    names = list(dict.fromkeys(k for row in scored for k in row if k not in DESCRIPTIONS))
    names = [*sorted(name for name in names if name != objective), objective]
    scores = [row[objective] for row in scored]
    colours = ScalarMappable(Normalize(min(scores), max(scores)), matplotlib.colormaps["viridis"])

    figure = Figure(figsize=(1.6 * len(names) + 2.0, 5.0))
    axis = figure.add_subplot()
    heights = np.stack([_draw_axis(axis, x, name, scored) for x, name in enumerate(names)])
    for number in np.argsort(scores):
        colour = colours.to_rgba(scores[number])
        axis.plot(heights[:, number], color=colour, marker="o", markersize=4, alpha=0.8)
    axis.set_xlim(-0.2, len(names) - 0.5)
    axis.set_ylim(-0.05, 1.05)
    axis.set_axis_off()
    figure.colorbar(colours, ax=axis, label=objective, fraction=0.04)
    return figure


def _draw_axis(axis: Axes, x: int, name: str, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Draw one hyper-parameter's axis with its values; heights 0..1 of the rows on it."""
    values = [row.get(name) for row in rows]
    heights, ticks = _place(values)
    axis.axvline(x, color="0.7", zorder=0)
    axis.text(x, 1.08, name, ha="center", fontweight="bold")
    for height, label in ticks.items():
        axis.text(x + 0.03, height, label, va="center", fontsize=8, color="0.3")
    return heights


def _place(values: Sequence[Any]) -> tuple[np.ndarray, dict[float, str]]:
    """Heights 0..1 of values, numbers to scale and names in order, and the labels there."""
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in values):
        kinds = sorted({str(value) for value in values})
        steps = dict(zip(kinds, _spread(len(kinds)), strict=True))
        labels = {height: kind for kind, height in steps.items()}
        return np.array([steps[str(value)] for value in values]), labels
    numbers = np.array(values, float)
    if numbers.min() > 0 and numbers.max() / numbers.min() > LOG_RANGE:
        numbers = np.log(numbers)
    low, high = numbers.min(), numbers.max()
    heights = (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)
    chosen = {int(np.argmin(np.abs(heights - step))) for step in _spread(5)}
    return heights, {float(heights[i]): f"{values[i]:.3g}" for i in chosen}


def _spread(count: int) -> list[float]:
    """Heights of `count` labels."""
    return [0.5] if count == 1 else list(np.linspace(0.0, 1.0, count))
