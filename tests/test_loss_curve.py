import pytest

from speech_enhancement.inference.pictures import plot_losses, save_figure


@pytest.mark.parametrize(("losses", "scale"), [((0.1, 0.01), "log"), ((-3.0, -9.0), "linear")])
def test_both_losses_are_drawn_on_a_scale_that_holds_them(losses, scale):
    rows = [{"epoch": n, "loss": v, "val_loss": 1.1 * v} for n, v in enumerate(losses)]
    (axis,) = plot_losses(rows).axes
    assert axis.get_yscale() == scale
    training, validation = axis.lines
    assert list(training.get_xdata()) == [1, 2]
    assert tuple(training.get_ydata()) == losses
    assert validation.get_label() == "validation"


def test_one_epoch_is_enough_for_a_picture(tmp_path):
    figure = plot_losses([{"epoch": 0, "loss": 0.1, "val_loss": 0.2}])
    save_figure(figure, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
