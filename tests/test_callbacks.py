import keras
import numpy as np

import callbacks


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


def test_a_backup_that_is_missing_or_broken_is_no_interrupted_training(tmp_path):
    assert callbacks.interrupted_epoch(tmp_path) is None
    (tmp_path / callbacks.BACKUP).mkdir()
    state = tmp_path / callbacks.BACKUP / callbacks.BACKUP_STATE
    for content in ("", "{", "{}"):
        state.write_text(content)
        assert callbacks.interrupted_epoch(tmp_path) is None
    state.write_text('{"epoch": 3, "batch": 0}')
    assert callbacks.interrupted_epoch(tmp_path) == 3


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
