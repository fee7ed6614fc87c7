"""Gaussian fields on a grid of spots: values of which neighbours are alike."""

import numpy as np


def grid(across, down, pitch_um):
    """(across * down, 2) float64 positions x and y, um, row by row."""
    rows, columns = np.divmod(np.arange(across * down), across)
    return np.stack([columns, rows], 1) * pitch_um


def fields(rng, count, width_um, across, down, pitch_um):
    """(across * down, count) fields of variance 1 whose standard deviation of smoothing is `width_um`."""
    frequency = (np.fft.fftfreq(2 * side, pitch_um) ** 2 for side in (down, across))
    weight = np.exp(-2 * (np.pi * width_um) ** 2 * np.add.outer(*frequency))
    weight /= np.sqrt((weight**2).mean())
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(count, 2 * down, 2 * across))) * weight).real
    return noise[:, :down, :across].reshape(count, -1).T
