"""A journal goes on after a kill in the middle of a line."""

import pytest

from speech_enhancement.errors import UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.journal import Journal

CHECK = json_files.record({"n": json_files.whole(0)})


def test_a_line_that_was_cut_short_costs_itself_only(tmp_path):
    path = tmp_path / "folder" / "journal.jsonl"
    assert list(Journal(path, CHECK).read()) == []
    journal = Journal(path, CHECK)
    for n in range(3):
        journal.append({"n": n})
    path.write_bytes(path.read_bytes()[:-4])  # killed while it wrote the third
    journal = Journal(path, CHECK)
    assert [record["n"] for record in journal.read()] == [0, 1]
    journal.append({"n": 3})
    journal.append({"n": 4})
    assert [record["n"] for record in Journal(path, CHECK).read()] == [0, 1, 3, 4]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*journal"):
        Journal(tmp_path / "file" / "journal", CHECK).append({"n": 0})
