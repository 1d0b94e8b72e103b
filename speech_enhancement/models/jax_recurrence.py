"""The recurrences of `dpcrn` and `lstm` as scans in JAX, with their gradients written by hand.

What JAX derives from a scan keeps every gate of every frame and multiplies small matrices frame by
frame. Here the backward scan carries the gradient of the state alone: the gates come from one large
product over all frames before it, and the gradients of the weights from another behind it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Frames of the GRU that are written out. The LSTM's products are larger, and gain nothing by it.
UNROLL = 4
# Of the kernels. GPUs multiply matrices with ten bits of the fraction, in an order of their own.
TOLERANCE = 2e-2
CHECKED_FRAMES = 9


def _gates(projected, inner):
    """Update, reset, candidate, and the state's part in the candidate; see `dpcrn.gru_step`."""
    update_in, reset_in, candidate_in = jnp.split(projected, 3, axis=-1)
    update_inner, reset_inner, candidate_inner = jnp.split(inner, 3, axis=-1)
    update = jax.nn.sigmoid(update_in + update_inner)
    reset = jax.nn.sigmoid(reset_in + reset_inner)
    candidate = jnp.tanh(candidate_in + reset * candidate_inner)
    return update, reset, candidate, candidate_inner


class Loops(NamedTuple):
    """What goes from frame to frame in a GRU.

    Args:
        states: of projected inputs, recurrent weights and bias; see `gru`.
        gradients: of the states in all frames, of what is given for each of them, (T, batch, F,
            units), of what a unit of it gives to the state's part in the gates, (T, batch, F,
            3 units), of the update gate, and of the recurrent weights.
    """

    states: Callable
    gradients: Callable


def _scanned_states(projected, recurrent, bias):
    first = jnp.zeros((*projected.shape[1:-1], recurrent.shape[0]), projected.dtype)

    def step(state, frame):
        update, _, candidate, _ = _gates(frame, state @ recurrent + bias)
        state = candidate + update * (state - candidate)
        return state, state

    return lax.scan(step, first, projected, unroll=UNROLL)[1]


def _scanned_gradients(gradient, to_inner, update, recurrent):
    transposed = recurrent.T

    def step(of_state, frame):
        given, factors, update = frame
        of_state = of_state + given
        of_inner = jnp.concatenate([of_state] * 3, axis=-1) * factors
        return of_state * update + of_inner @ transposed, of_state

    frames, last = (gradient, to_inner, update), jnp.zeros_like(gradient[0])
    return lax.scan(step, last, frames, reverse=True, unroll=UNROLL)[1]


SCANS = Loops(_scanned_states, _scanned_gradients)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def gru(projected, recurrent, bias, loops: Loops = SCANS):
    """States of a GRU that starts at zero, (T, batch, F, units).

    Args:
        projected: the inputs' part in the gates, (T, batch, F, 3 units).
        recurrent: (units, 3 units).
        bias: of the state's part, (3 units,).
        loops: scans or kernels; see `fastest_loops`.
    """
    return _forward(projected, recurrent, bias, loops)[0]


def _forward(projected, recurrent, bias, loops):
    """The states, and what the gradient needs."""
    states = loops.states(projected, recurrent, bias)
    return states, (projected, recurrent, bias, states)


def _backward(loops, kept, gradient):
    """Gradients of projected inputs, weights and bias, of that of the states."""
    projected, recurrent, bias, states = kept
    before = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])
    update, reset, candidate, inner = _gates(projected, before @ recurrent + bias)
    # What a unit of gradient of the state gives to the argument of each gate.
    to_candidate = (1.0 - update) * (1.0 - jnp.square(candidate))
    to_update = (before - candidate) * update * (1.0 - update)
    to_reset = to_candidate * inner * reset * (1.0 - reset)
    to_inner = jnp.concatenate([to_update, to_reset, to_candidate * reset], axis=-1)
    of_states = loops.gradients(gradient, to_inner, update, recurrent)
    of_inner = jnp.concatenate([of_states] * 3, axis=-1) * to_inner
    units = recurrent.shape[0]
    of_projected = jnp.concatenate([of_inner[..., : 2 * units], of_states * to_candidate], axis=-1)
    of_recurrent = jnp.einsum("tbfu,tbfg->ug", before, of_inner)
    return of_projected, of_recurrent, jnp.sum(of_inner, axis=(0, 1, 2))


gru.defvjp(_forward, _backward)


def fastest_loops(projected) -> Loops:
    """The kernels for GPUs, where they work and give what the scans give; the scans elsewhere.

    Args:
        projected: see `gru`; only its shape and its type matter.
    """
    if not on_one_gpu() or projected.dtype != jnp.float32:
        return SCANS
    return _checked(math.prod(projected.shape[1:-1]), projected.shape[-1] // 3)


def on_one_gpu() -> bool:
    """Whether there is one GPU alone: JAX does not part the rows of a kernel among several."""
    return jax.default_backend() == "gpu" and jax.device_count() == 1


@functools.cache
def _checked(rows: int, units: int) -> Loops:
    """The kernels, if they work for so many rows and units; otherwise a note says why not."""
    try:
        from speech_enhancement.models import gru_kernel

        kernels = Loops(gru_kernel.states, gru_kernel.gradients)
        # This thread is tracing a network when a layer asks, and would trace this as well.
        with ThreadPoolExecutor(1) as other:
            difference = other.submit(_difference, kernels, rows, units).result()
        if difference <= TOLERANCE:
            return kernels
        reason = f"it differs by {difference:.2g} from what it should give"
    except Exception as error:  # whatever the compiler of a GPU raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    print(f"note: the kernel for GRUs of {units} units is not used: {reason}", file=sys.stderr)
    return SCANS


def _difference(loops: Loops, rows: int, units: int) -> float:
    """Of states and gradients of random values from those of the scans, relative to the largest."""
    rng = np.random.default_rng(0)
    gates = 3 * units
    scales = {(CHECKED_FRAMES, rows, 1, gates): 1.0, (units, gates): units**-0.5, (gates,): 0.1}
    given = [
        jnp.asarray(rng.normal(0.0, scale, shape), jnp.float32) for shape, scale in scales.items()
    ]

    def run(loops):
        def loss(*given):
            states = gru(*given, loops)
            return jnp.sum(jnp.sin(3.0 * states)), states

        return jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*given))

    pairs = zip(run(loops), run(SCANS), strict=True)
    return float(jnp.stack([jnp.abs(a - b).max() / jnp.abs(b).max() for a, b in pairs]).max())


def _lstm_gates(arguments):
    """Input, forget, candidate, output; in the order of `keras.layers.LSTM`."""
    taken, kept, candidate, output = jnp.split(arguments, 4, axis=-1)
    sigmoid = jax.nn.sigmoid
    return sigmoid(taken), sigmoid(kept), jnp.tanh(candidate), sigmoid(output)


@jax.custom_vjp
def lstm(projected, recurrent):
    """Outputs of an LSTM that starts at zero, (T, batch, units).

    Args:
        projected: the inputs' part in the gates, with the bias, (T, batch, 4 units).
        recurrent: (units, 4 units).
    """
    return _lstm_forward(projected, recurrent)[0]


def _lstm_forward(projected, recurrent):
    """The outputs, and what the gradient needs."""
    zeros = jnp.zeros((projected.shape[1], recurrent.shape[0]), projected.dtype)

    def step(state, frame):
        output, cell = state
        taken, kept, candidate, shown = _lstm_gates(frame + output @ recurrent)
        cell = kept * cell + taken * candidate
        state = shown * jnp.tanh(cell), cell
        return state, state

    _, (outputs, cells) = lax.scan(step, (zeros, zeros), projected)
    return outputs, (projected, recurrent, outputs, cells)


def _lstm_backward(saved, gradient):
    """Gradients of projected inputs and weights, of that of the outputs."""
    projected, recurrent, outputs, cells = saved
    outputs_before, cells_before = (
        jnp.concatenate([jnp.zeros_like(each[:1]), each[:-1]]) for each in (outputs, cells)
    )
    taken, kept, candidate, shown = _lstm_gates(projected + outputs_before @ recurrent)
    tanh = jnp.tanh(cells)
    # What a unit of gradient of the cell gives to the arguments of the first three gates, what one
    # of the output gives to that of the last gate, and to the cell.
    of_cell_to = jnp.concatenate(
        [
            candidate * taken * (1.0 - taken),
            cells_before * kept * (1.0 - kept),
            taken * (1.0 - jnp.square(candidate)),
        ],
        axis=-1,
    )
    to_shown = tanh * shown * (1.0 - shown)
    to_cell = shown * (1.0 - jnp.square(tanh))
    transposed = recurrent.T

    def step(later, frame):
        of_output, of_cell = later
        given, of_cell_to, to_shown, to_cell, kept = frame
        of_output = of_output + given
        of_cell = of_cell + of_output * to_cell
        of_gates = jnp.concatenate([of_cell] * 3, axis=-1) * of_cell_to
        of_gates = jnp.concatenate([of_gates, of_output * to_shown], axis=-1)
        return (of_gates @ transposed, of_cell * kept), of_gates

    frames = (gradient, of_cell_to, to_shown, to_cell, kept)
    zeros = jnp.zeros_like(outputs[0])
    _, of_gates = lax.scan(step, (zeros, zeros), frames, reverse=True)
    return of_gates, jnp.einsum("tbu,tbg->ug", outputs_before, of_gates)


lstm.defvjp(_lstm_forward, _lstm_backward)
