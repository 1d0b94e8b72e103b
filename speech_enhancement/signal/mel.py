"""Mel bands: the bins of a spectrogram merged as the ear merges them, and the way back."""

from __future__ import annotations

import functools

import numpy as np


def centres_hz(n_mels: int, sample_rate: int) -> np.ndarray:
    """Centres of mel bands, Hz, evenly spaced in mel (O'Shaughnessy 1987) and without 0 Hz."""
    top = 2595.0 * np.log10(1.0 + sample_rate / 2.0 / 700.0)
    return 700.0 * (10.0 ** (np.arange(1, n_mels + 1) * top / (n_mels + 1) / 2595.0) - 1.0)


@functools.lru_cache(maxsize=16)
def bands(n_mels: int, n_bins: int, sample_rate: int) -> np.ndarray:
    """Triangular mel bands as weights of the bins' powers, each band's adding up to one.

    A band is at least as wide as two bins, so that no band of low frequencies falls between bins.

    Returns:
        float32 (n_mels, n_bins).
    """
    bins = np.linspace(0.0, sample_rate / 2.0, n_bins)
    centres = centres_hz(n_mels, sample_rate)[:, np.newaxis]
    edges = np.concatenate([[[0.0]], centres, [[sample_rate / 2.0]]])
    below = np.maximum(centres - edges[:-2], bins[1])
    above = np.maximum(edges[2:] - centres, bins[1])
    distance = bins - centres
    weights = np.maximum(1.0 - np.where(distance < 0.0, -distance / below, distance / above), 0.0)
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def interpolation(n_mels: int, n_bins: int, sample_rate: int) -> np.ndarray:
    """Linear interpolation of values of mel bands to bins, float32 (n_bins, n_mels)."""
    bins = np.linspace(0.0, sample_rate / 2.0, n_bins)
    centres = centres_hz(n_mels, sample_rate)
    weights = [np.interp(bins, centres, band) for band in np.eye(n_mels)]
    return np.stack(weights, axis=-1).astype(np.float32)
