"""The two errors that a user can cause, each one sentence and an exit code; text for terminals."""


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a disk, a set of weights."""

    exit_code = 1


class UsageError(UserError):
    """An option has a value that is not allowed."""

    exit_code = 2


def printable(text: str) -> str:
    """Text without the line breaks, control codes and broken characters that names may have."""
    encoded = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in encoded)
