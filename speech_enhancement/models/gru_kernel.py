"""What a GRU does from frame to frame as Pallas kernels, which keep its state on the chip of a GPU.

A scan starts several small kernels for every frame, and its state goes through the memory of the
GPU each time. Here, one program computes all frames for some rows. `jax_recurrence` has the same as
scans, says what the functions are given, and does without the kernels where they do not work.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas
from jax.experimental.pallas import triton

ROWS = 16  # that one program computes; a product of matrices needs as many
FEWEST_UNITS = 16  # likewise


def states(projected, recurrent, bias):
    """States of a GRU that starts at zero, (T, batch, F, units); see `jax_recurrence.gru`."""
    units = recurrent.shape[0]
    frames = _gates(_rows(projected), units)
    states = _run(_states_kernel, *frames, *_gates(recurrent, units), *_gates(bias, units))
    return _unfilled(states, (*projected.shape[:-1], units))


def gradients(gradient, to_inner, update, recurrent):
    """Gradients of the states of all frames, (T, batch, F, units); see `jax_recurrence.Loops`."""
    units = recurrent.shape[0]
    frames = [_filled(_rows(each), units) for each in (gradient, update)]
    transposed = [part.T for part in _gates(recurrent, units)]
    states = _run(_gradients_kernel, *frames, *_gates(_rows(to_inner), units), *transposed)
    return _unfilled(states, gradient.shape)


def _states_kernel(
    update_in, reset_in, candidate_in, to_update, to_reset, to_candidate, *biases_and_states
):
    """The states of some rows, frame after frame."""
    *biases, states = biases_and_states
    rows = pallas.ds(pallas.program_id(0) * ROWS, ROWS)
    to_update, to_reset, to_candidate = to_update[...], to_reset[...], to_candidate[...]
    update_bias, reset_bias, candidate_bias = (bias[...] for bias in biases)

    def step(frame, state):
        update = jax.nn.sigmoid(update_in[frame, rows, :] + jnp.dot(state, to_update) + update_bias)
        reset = jax.nn.sigmoid(reset_in[frame, rows, :] + jnp.dot(state, to_reset) + reset_bias)
        inner = jnp.dot(state, to_candidate) + candidate_bias
        # The hyperbolic tangent, by the exponential function that sigmoids need as well.
        candidate = 2.0 * jax.nn.sigmoid(2.0 * (candidate_in[frame, rows, :] + reset * inner)) - 1.0
        state = candidate + update * (state - candidate)
        states[frame, rows, :] = state
        return state

    lax.fori_loop(0, states.shape[0], step, jnp.zeros((ROWS, states.shape[2]), jnp.float32))


def _gradients_kernel(
    given, update, of_update, of_reset, of_inner, from_update, from_reset, from_inner, of_states
):
    """The gradients of the states of some rows, from the last frame to the first."""
    rows = pallas.ds(pallas.program_id(0) * ROWS, ROWS)
    from_update, from_reset, from_inner = from_update[...], from_reset[...], from_inner[...]
    n_frames = of_states.shape[0]

    def step(count, of_state):
        frame = n_frames - 1 - count
        of_state = of_state + given[frame, rows, :]
        of_states[frame, rows, :] = of_state
        return (
            of_state * update[frame, rows, :]
            + jnp.dot(of_state * of_update[frame, rows, :], from_update)
            + jnp.dot(of_state * of_reset[frame, rows, :], from_reset)
            + jnp.dot(of_state * of_inner[frame, rows, :], from_inner)
        )

    lax.fori_loop(0, n_frames, step, jnp.zeros((ROWS, of_states.shape[2]), jnp.float32))


def _run(kernel, *given):
    """What a kernel gives for all rows, in the shape of the first that it is given."""
    shape = given[0].shape
    anywhere = pallas.BlockSpec(memory_space=pallas.ANY)
    return pallas.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(shape, jnp.float32),
        grid=(shape[1] // ROWS,),
        in_specs=[anywhere] * len(given),
        out_specs=anywhere,
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=jax.default_backend() == "cpu",  # so that tests can run it
    )(*given)


def _rows(frames):
    """(T, batch, F, C) -> (T, rows, C), with rows of zeros up to a multiple of `ROWS`."""
    rows = frames.reshape(frames.shape[0], -1, frames.shape[-1])
    return jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % ROWS), (0, 0)))


def _gates(x, units):
    """The three gates' parts of the last axis, each filled."""
    return [_filled(part, units) for part in jnp.split(x, 3, axis=-1)]


def _filled(x, units):
    """With zeros behind the units, up to a power of two, as Triton needs it.

    Args:
        x: frames (T, rows, units), a matrix (units, units), or a bias (units,).
        units: of the state.
    """
    spare = max(FEWEST_UNITS, pallas.next_power_of_2(units)) - units
    is_matrix = x.ndim == 2
    return jnp.pad(
        x, [(0, spare if axis == x.ndim - 1 or is_matrix else 0) for axis in range(x.ndim)]
    )


def _unfilled(rows, shape):
    """(T, filled rows, filled units) -> the shape (T, batch, F, units)."""
    _, batch, bands, units = shape
    return rows[:, : batch * bands, :units].reshape(shape)
