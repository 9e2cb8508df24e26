"""Why a file could not be read, in the few words that a message has room for."""

from __future__ import annotations

from app.core.one_line import one_line


def read_failure(error: OSError | UnicodeDecodeError) -> str:
    """Return why a file could not be read or written, without its path.

    >>> read_failure(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    return one_line(error.strerror or error)
