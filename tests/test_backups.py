"""Backups of a training: a damaged or unfinished one costs an epoch, and never the training."""

import json

from speech_enhancement.training import backups


def save(folder, epoch):
    backups.save(folder, lambda path: path.write_bytes(b"weights %d" % epoch), epoch, 0.5 * epoch)


def test_the_last_two_are_kept_and_the_newest_is_found(tmp_path):
    assert backups.newest(tmp_path) is None
    for epoch in range(4):
        save(tmp_path, epoch)
    found = backups.newest(tmp_path)
    assert (found.epoch, found.seconds, found.damaged) == (3, 1.5, ())
    assert found.weights.read_bytes() == b"weights 3"
    assert len(list((tmp_path / backups.FOLDER).iterdir())) == 2
    backups.remove(tmp_path)
    assert not any(tmp_path.iterdir())


def test_weights_and_epoch_belong_together(tmp_path):
    for epoch in range(2):
        save(tmp_path, epoch)
    newest = sorted((tmp_path / backups.FOLDER).iterdir())[-1]
    for name, content in [
        (backups.WEIGHTS, "weights 2"),  # of another epoch
        (backups.STATE, "{"),
        (backups.STATE, "{}"),
        (backups.STATE, json.dumps({"epoch": "1", "seconds": 0, "sha256": ""})),
    ]:
        before = (newest / name).read_bytes()
        (newest / name).write_text(content)
        found = backups.newest(tmp_path)
        assert found.epoch == 0
        assert found.damaged == (newest,)
        (newest / name).write_bytes(before)
    assert backups.newest(tmp_path).epoch == 1
    (newest / backups.WEIGHTS).unlink()
    save(tmp_path, 7)
    assert backups.newest(tmp_path).epoch == 7


def test_what_a_kill_left_of_a_backup_is_none(tmp_path):
    (tmp_path / backups.FOLDER / ".partial-0123456789abcdef").mkdir(parents=True)
    assert backups.newest(tmp_path) is None
    save(tmp_path, 1)
    assert backups.newest(tmp_path).epoch == 1


def test_a_backup_of_an_earlier_version_is_found(tmp_path):
    save(tmp_path, 1)
    weights = backups.newest(tmp_path).weights
    earlier = weights.rename(weights.with_name(backups.EARLIER_WEIGHTS))
    assert backups.newest(tmp_path).weights == earlier
