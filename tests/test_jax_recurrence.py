"""The recurrences that JAX trains with, against Keras's layers and what JAX derives itself."""

from unittest import mock

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402

from speech_enhancement.models import jax_recurrence, lstm  # noqa: E402

T, BATCH, BANDS, CHANNELS, UNITS = 11, 2, 3, 5, 4


@pytest.fixture
def weights(rng):
    shapes = {"kernel": (CHANNELS, 3 * UNITS), "recurrent": (UNITS, 3 * UNITS)}
    made = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    return made | {"bias": rng.normal(0, 0.3, (2, 3 * UNITS)).astype(np.float32)}


def plain(projected, recurrent, bias):
    """The same recurrence, frame by frame."""
    state, states = jnp.zeros((*projected.shape[1:-1], recurrent.shape[0])), []
    for frame in projected:
        update, _, candidate, _ = jax_recurrence._gates(frame, state @ recurrent + bias)
        state = candidate + update * (state - candidate)
        states.append(state)
    return jnp.stack(states)


def test_its_states_are_those_of_keras(weights, rng):
    x = rng.standard_normal((BATCH * BANDS, T, CHANNELS)).astype(np.float32)
    layer = keras.layers.GRU(UNITS, return_sequences=True, reset_after=True)
    layer.build(x.shape)
    layer.set_weights([weights["kernel"], weights["recurrent"], weights["bias"]])
    expected = keras.ops.convert_to_numpy(layer(x))
    projected = np.moveaxis(x @ weights["kernel"] + weights["bias"][0], 1, 0)[:, :, None]
    ours = jax_recurrence.gru(jnp.asarray(projected), weights["recurrent"], weights["bias"][1])
    np.testing.assert_allclose(np.moveaxis(ours[:, :, 0], 0, 1), expected, atol=1e-5)


def test_its_gradient_is_the_derived_one(weights, rng):
    projected = jnp.asarray(rng.standard_normal((T, BATCH, BANDS, 3 * UNITS)), jnp.float32)
    given = (projected, jnp.asarray(weights["recurrent"]), jnp.asarray(weights["bias"][1]))

    def loss(run, *arguments):
        return jnp.sum(jnp.sin(3.0 * run(*arguments)))

    ours, theirs = (
        jax.grad(lambda *a, run=run: loss(run, *a), argnums=(0, 1, 2))(*given)
        for run in (jax_recurrence.gru, plain)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, atol=1e-4)


# `test_backends` runs it, in a process whose backend is JAX.
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="others train with Keras's loop")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_lstm_of_jax_has_outputs_and_gradients_of_keras_layer_in_its_file(bidirectional, rng):
    x = rng.standard_normal((BATCH, T, CHANNELS)).astype(np.float32)
    ours = lstm.recurrence(UNITS, bidirectional)
    in_file = keras.saving.serialize_keras_object(ours)
    assert in_file["module"] == "keras.layers"
    theirs = keras.saving.deserialize_keras_object(in_file)
    for layer in (ours, theirs):
        layer.build(x.shape)
    trained = ours.trainable_variables
    weights = [rng.normal(0, 0.5, each.shape).astype(np.float32) for each in trained]

    def run(layer):
        def loss(weights, x):
            states = [each.value for each in layer.non_trainable_variables]
            outputs, _ = layer.stateless_call(weights, states, x)
            return jnp.mean(jnp.sin(3.0 * outputs)), outputs

        with mock.patch.object(jax_recurrence, "lstm", wraps=jax_recurrence.lstm) as called:
            given = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(weights, x)
        return called.call_count, *jax.tree.leaves(given)

    (count, *given), (count_of_keras, *expected) = run(ours), run(theirs)
    assert (count, count_of_keras) == (1 + bidirectional, 0)
    for a, b in zip(given, expected, strict=True):
        assert float(jnp.abs(b).max()) > 1e-3
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)
