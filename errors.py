"""The two errors that a user can cause, each one sentence and an exit code."""


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a disk, a set of weights."""

    exit_code = 1


class UsageError(UserError):
    """An option has a value that is not allowed."""

    exit_code = 2
