"""Texts of errors that come from elsewhere, as they may stand in a line of ours."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks; the name of its class where it has none.

    >>> one_line(ValueError("first\\n  second"))
    'first second'
    """
    return " ".join(str(error).split()) or type(error).__name__


def read_failure(error: OSError | UnicodeDecodeError) -> str:
    """Return in a few words why a file could not be read or written.

    >>> read_failure(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    return " ".join(error.strerror.split()) if error.strerror else one_line(error)
