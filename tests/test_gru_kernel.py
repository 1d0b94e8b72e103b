"""The GPU kernels of the GRU, interpreted on the processor, against the scans that they replace."""

from unittest import mock

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402

from speech_enhancement.models import dpcrn, gru_kernel, jax_recurrence  # noqa: E402

KERNELS = jax_recurrence.Loops(gru_kernel.states, gru_kernel.gradients)


@pytest.fixture
def on_gpu(monkeypatch):
    """Have the choice between kernels and scans made as on a GPU."""
    monkeypatch.setattr(jax_recurrence, "on_one_gpu", lambda: True)
    jax_recurrence._checked.cache_clear()
    yield
    jax_recurrence._checked.cache_clear()


def projected(rows, units):
    return jnp.zeros((3, rows, 1, 3 * units), jnp.float32)


@pytest.mark.parametrize(("batch", "bands", "units"), [(2, 8, 16), (3, 7, 5)])
def test_kernels_give_the_states_and_the_gradients_of_the_scans(batch, bands, units, rng):
    frames = jnp.asarray(rng.standard_normal((6, batch, bands, 3 * units)), jnp.float32)
    recurrent = jnp.asarray(rng.normal(0, units**-0.5, (units, 3 * units)), jnp.float32)
    bias = jnp.asarray(rng.normal(0, 0.3, 3 * units), jnp.float32)

    def run(loops):
        def loss(*given):
            states = jax_recurrence.gru(*given, loops)
            return jnp.mean(jnp.sin(3.0 * states)), states

        given = (frames, recurrent, bias)
        return jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*given))

    for a, b in zip(run(KERNELS), run(jax_recurrence.SCANS), strict=True):
        assert a.shape == b.shape
        assert float(jnp.abs(b).max()) > 1e-3
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)


def test_triton_code_for_nvidia_gpus_is_made_of_the_kernels(monkeypatch):
    units = 48
    shapes = ((9, 2, 24, 3 * units), (units, 3 * units), (3 * units,))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    gradient = jax.grad(lambda *given: jnp.sum(jax_recurrence.gru(*given, KERNELS)), argnums=(0, 1))
    traced = jax.jit(gradient).trace(
        *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    )
    code = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert code.count("custom_call @__gpu$xla.gpu.triton") == 2


def test_kernels_that_agree_are_used_also_where_a_step_is_traced(on_gpu, capsys):
    chosen = []

    @jax.jit
    def step(x):
        chosen.append(jax_recurrence.fastest_loops(x))
        return x

    step(projected(17, 5))
    assert chosen == [KERNELS]
    assert capsys.readouterr().err == ""


def test_without_a_gpu_and_in_half_precision_there_are_scans(on_gpu, monkeypatch):
    halves = projected(17, 5).astype(jnp.float16)
    assert jax_recurrence.fastest_loops(halves) is jax_recurrence.SCANS
    monkeypatch.undo()
    assert jax_recurrence.fastest_loops(projected(17, 5)) is jax_recurrence.SCANS


def raising(*_):
    raise NotImplementedError("no Triton here\nand more of this")


def without_its_last_frame(*given):
    return KERNELS.states(*given).at[-1].set(0.0)


def with_five_percent_more(*given):
    return 1.05 * KERNELS.gradients(*given)


def without_numbers(*given):
    return KERNELS.states(*given) * jnp.nan


@pytest.mark.parametrize(
    ("name", "faulty", "reason"),
    [
        ("states", raising, "no Triton here"),
        ("states", without_its_last_frame, "it differs by 0."),
        ("gradients", with_five_percent_more, "it differs by 0.05"),
        ("states", without_numbers, "it differs by nan"),
    ],
)
def test_a_kernel_that_fails_or_differs_is_left_out_with_one_note(
    on_gpu, monkeypatch, capsys, name, faulty, reason
):
    monkeypatch.setattr(gru_kernel, name, faulty)
    for _ in range(2):
        assert jax_recurrence.fastest_loops(projected(17, 5)) is jax_recurrence.SCANS
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1
    assert notes[0].startswith("note: the kernel for GRUs of 5 units is not used: ")
    assert reason in notes[0]


# `test_backends` runs it, in a process whose backend is JAX.
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="others do not use the kernels")
def test_the_layer_of_jax_runs_the_kernels_in_both_directions(on_gpu, monkeypatch, rng):
    layer = dpcrn.TimeGRU(5, bidirectional=True)
    x = rng.standard_normal((2, 4, 3, 6)).astype(np.float32)
    with mock.patch.object(jax_recurrence, "_checked", return_value=KERNELS) as asked:
        ours = np.asarray(layer(x))
    assert asked.call_args_list == [mock.call(6, 5)] * 2
    monkeypatch.setattr(jax_recurrence, "on_one_gpu", lambda: False)
    expected = np.asarray(layer(x))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)
