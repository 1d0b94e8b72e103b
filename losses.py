"""Losses by name, in `keras.ops` so that every backend trains with them.

Each takes (target, output) of the shapes that `features` describes and returns one value per
sample of the batch or per element, which Keras averages.
"""

from __future__ import annotations

import keras

# Linear beyond one, quadratic within (Huber 1964), a compromise between L2 and L1.
Huber = keras.losses.Huber
# log(cosh(x)): about x^2 / 2 near zero and |x| - log 2 far away, twice differentiable.
LogCosh = keras.losses.LogCosh
MeanSquaredError = keras.losses.MeanSquaredError
MeanAbsoluteError = keras.losses.MeanAbsoluteError
