"""Files and pipes: what may be written where is settled before any work is done."""

import os
import stat
import sys
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import click

from nlmeans import FileError, files
from nlmeans.files import Picture

PIPE = "-"


def read(path: str) -> Picture:
    """Read a file, or stdin for "-"."""
    return files.read(_stream("stdin") if path == PIPE else path)


def write(path: str, picture: Picture, format: str | None) -> None:
    """Write a file, or to stdout for "-"."""
    files.write(_stream("stdout") if path == PIPE else path, picture, format=format)


def check_target(path: str, picture: Picture, format: str | None) -> None:
    """Raise what `write` would raise."""
    if path != PIPE and os.path.isdir(path):
        raise FileError(f"{path!r}: is a directory")
    files.check_target(_stream("stdout") if path == PIPE else path, picture, format=format)


def _stream(name: str) -> BinaryIO:
    stream = getattr(sys, name)
    if stream is None:
        raise FileError(f"{name} is closed")
    binary: BinaryIO = stream.buffer
    return binary


def check_paths(
    sources: Sequence[str], targets: Iterable[str], *, force: bool, format: str | None
) -> None:
    """Refuse what would destroy an input or flood a terminal, before anything is read.

    An input is recognized behind links and redirections, too: files are compared, not names.
    """
    if sources.count(PIPE) > 1:
        raise click.UsageError("'-', standard input, can be read only once")
    inputs = {_identity(source) for source in sources} - {None}
    for target in targets:
        if target == PIPE:
            if format is None:
                raise click.UsageError("--format must be given to write to '-', standard output")
            if sys.stdout is not None and sys.stdout.isatty():
                raise click.UsageError("an image is not written to a terminal; redirect the output")
        elif not force and _identity(target) in inputs:
            raise click.UsageError(f"{target!r} is an input; to overwrite it, add --force")


def _identity(path: str) -> tuple[int, int] | None:
    """What two paths to one file have in common; None for what is no file."""
    try:
        status = os.fstat(sys.stdin.fileno()) if path == PIPE else os.stat(path)
    except (OSError, ValueError, AttributeError):  # missing, or a stdin without a descriptor
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
