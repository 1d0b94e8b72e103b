import contextlib
import os

import keras
import numpy as np
import pytest

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.training import backups, callbacks, run_description, run_folder


def test_epochs_that_will_be_trained_again_leave_the_log(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss,val_loss\n0,3.0,2.0\n1,2.0,1.0\n2,1.0,0.5\n")
    callbacks.forget_epochs(log, 2)
    assert [row["epoch"] for row in callbacks.read_log(log)] == [0, 1]
    assert callbacks.best_loss(log) == 1.0


def test_without_a_log_there_is_nothing_to_forget_and_no_best(tmp_path):
    callbacks.forget_epochs(tmp_path / "none.csv", 2)
    assert callbacks.best_loss(tmp_path / "none.csv") is None
    assert list(tmp_path.iterdir()) == []


def test_steps_of_an_interrupted_epoch_do_not_count_twice():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    model.optimizer.iterations.assign(6)  # interrupted within the second epoch of four steps
    seen = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(int(model.optimizer.iterations))
    )
    sound = np.ones((8, 1), np.float32)
    model.fit(
        *(sound, sound),
        batch_size=2,
        epochs=3,
        initial_epoch=1,
        verbose=0,
        callbacks=[callbacks.StepsOfEpoch(), count],
    )
    assert seen == list(range(4, 12))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0003, "0.03 s"), (0.25, "25 s"), (60.0, "1:40:00")]
)
def test_the_time_of_an_epoch_is_that_of_its_steps(seconds, words, monkeypatch, capsys):
    ends = iter([40.0, *(50.0 + seconds * step for step in range(20))])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(ends))
    callback = callbacks.TimeOfEpoch(steps=100)
    callback.on_train_begin()
    for batch in range(10):
        callback.on_train_batch_end(batch)
    assert capsys.readouterr().out == ""
    for batch in range(10, 20):
        callback.on_train_batch_end(batch)
    assert capsys.readouterr().out == f"An epoch takes about {words}\n"


def test_a_log_without_a_line_has_nothing_to_forget(tmp_path):
    log = tmp_path / "log.csv"
    log.touch()
    callbacks.forget_epochs(log, 0)
    assert log.read_text() == ""
    log.write_text("epoch,loss,val_loss\n0,3.0,nan\n1,2.0,1.0\n")
    assert callbacks.best_loss(log) == 1.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_log_that_cannot_be_written_is_named():
    log = callbacks.Log("/dev/full")
    log.on_train_begin()
    with pytest.raises(UserError, match=r"^Cannot write /dev/full: No space left on device$"):
        log.on_epoch_end(0, {"loss": 1.0})
    with contextlib.suppress(OSError):
        log.csv_file.close()


@pytest.mark.parametrize(
    ("every", "steps", "epoch"),
    [
        (1, 3, 5),  # within the first epoch
        (100, 6, 6),  # within the second one, and before its first backup
    ],
)
def test_a_second_interruption_goes_back_to_the_right_epoch(every, steps, epoch, tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    sound = np.ones((8, 1), np.float32)

    def interrupt(batch, logs):
        if model.optimizer.iterations == steps:
            raise KeyboardInterrupt

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    backup = callbacks.Backup(tmp_path, every)
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            *(sound, sound),
            batch_size=2,
            epochs=9,
            initial_epoch=5,
            verbose=0,
            callbacks=[backup, callback],
        )
    assert callbacks.interrupted_epoch(tmp_path) == epoch


def test_only_the_same_training_is_resumed(tmp_path, capsys):
    for epoch in (2, 3):
        backups.save(tmp_path, lambda path: path.write_bytes(b"weights"), epoch, 0.0)
    run_description.save(
        tmp_path / run_folder.DESCRIPTION, {"voice_dir": tmp_path, "batch_size": 5}
    )
    same = {"voice_dir": tmp_path, "batch_size": 5}
    assert run_folder.prepare(tmp_path, same, resume=True) == 3
    with pytest.raises(UsageError, match=r"has `batch_size` 5\. Received: 6"):
        run_folder.prepare(tmp_path, same | {"batch_size": 6}, resume=True)
    assert capsys.readouterr().err == ""
    newest = backups.newest(tmp_path)
    newest.weights.write_bytes(b"damaged")
    assert run_folder.prepare(tmp_path, same, resume=True) == 2
    assert capsys.readouterr().err == (
        f"note: the backup {newest.weights.parent} is damaged: continuing from the one before it, "
        "at epoch 3\n"
    )
