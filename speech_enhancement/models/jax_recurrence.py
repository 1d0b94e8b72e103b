"""The recurrences of `dpcrn` and `lstm` as scans in JAX, with their gradients written by hand.

What JAX derives from a scan keeps every gate of every frame and multiplies small matrices frame by
frame. Here the backward scan carries the gradient of the state alone: the gates come from one large
product over all frames before it, and the gradients of the weights from another behind it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

# Frames of the GRU that are written out. The LSTM's products are larger, and gain nothing by it.
UNROLL = 4


def _gates(projected, inner):
    """Update, reset, candidate, and the state's part in the candidate; see `dpcrn.gru_step`."""
    update_in, reset_in, candidate_in = jnp.split(projected, 3, axis=-1)
    update_inner, reset_inner, candidate_inner = jnp.split(inner, 3, axis=-1)
    update = jax.nn.sigmoid(update_in + update_inner)
    reset = jax.nn.sigmoid(reset_in + reset_inner)
    candidate = jnp.tanh(candidate_in + reset * candidate_inner)
    return update, reset, candidate, candidate_inner


@jax.custom_vjp
def gru(projected, recurrent, bias):
    """States of a GRU that starts at zero, (T, batch, F, units).

    Args:
        projected: the inputs' part in the gates, (T, batch, F, 3 units).
        recurrent: (units, 3 units).
        bias: of the state's part, (3 units,).
    """
    return _forward(projected, recurrent, bias)[0]


def _forward(projected, recurrent, bias):
    """The states, and what the gradient needs."""
    first = jnp.zeros((*projected.shape[1:-1], recurrent.shape[0]), projected.dtype)

    def step(state, frame):
        update, _, candidate, _ = _gates(frame, state @ recurrent + bias)
        state = candidate + update * (state - candidate)
        return state, state

    _, states = lax.scan(step, first, projected, unroll=UNROLL)
    return states, (projected, recurrent, bias, states)


def _backward(kept, gradient):
    """Gradients of projected inputs, weights and bias, of that of the states."""
    projected, recurrent, bias, states = kept
    before = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])
    update, reset, candidate, inner = _gates(projected, before @ recurrent + bias)
    # What a unit of gradient of the state gives to the argument of each gate.
    to_candidate = (1.0 - update) * (1.0 - jnp.square(candidate))
    to_update = (before - candidate) * update * (1.0 - update)
    to_reset = to_candidate * inner * reset * (1.0 - reset)
    to_inner = jnp.concatenate([to_update, to_reset, to_candidate * reset], axis=-1)
    transposed = recurrent.T

    def step(of_state, frame):
        given, factors, update = frame
        of_state = of_state + given
        of_inner = jnp.concatenate([of_state] * 3, axis=-1) * factors
        return of_state * update + of_inner @ transposed, of_state

    frames = (gradient, to_inner, update)
    last = jnp.zeros_like(states[0])
    _, of_states = lax.scan(step, last, frames, reverse=True, unroll=UNROLL)
    of_inner = jnp.concatenate([of_states] * 3, axis=-1) * to_inner
    units = recurrent.shape[0]
    of_projected = jnp.concatenate([of_inner[..., : 2 * units], of_states * to_candidate], axis=-1)
    of_recurrent = jnp.einsum("tbfu,tbfg->ug", before, of_inner)
    return of_projected, of_recurrent, jnp.sum(of_inner, axis=(0, 1, 2))


gru.defvjp(_forward, _backward)


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
