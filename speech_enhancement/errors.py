"""The two errors that a user can cause, each one sentence and an exit code; text for others."""

# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a disk, a set of weights."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython, and so every notebook, shows instead of a traceback."""
        return [str(self)]


class UsageError(UserError):
    """An option has a value that is not allowed."""

    exit_code = 2


def printable(text: str) -> str:
    """Text without the line breaks, control codes and broken characters that names may have."""
    encoded = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in encoded)


def table_text(text: str) -> str:
    """Text for a table that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
