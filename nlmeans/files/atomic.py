"""Whole files or none: written beside the target, then renamed over it."""

import contextlib
import os
import secrets
import stat

from nlmeans.errors import FileError


def check_writable(path: str) -> None:
    """Raise unless a file can be put at `path`; touches nothing."""
    path = os.path.realpath(path)
    old = _status(path)
    if old is not None:
        if stat.S_ISDIR(old.st_mode):
            raise FileError("is a directory")
        if not stat.S_ISREG(old.st_mode):
            # Renaming over a device or a pipe would destroy it.
            raise FileError("is not a regular file")
        if not os.access(path, os.W_OK):
            raise FileError("is write-protected")
    parent = os.path.dirname(path)
    status = _status(parent)
    if status is None:
        raise FileError(f"directory {parent!r} does not exist")
    if not stat.S_ISDIR(status.st_mode):
        raise FileError(f"{parent!r} is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise FileError(f"directory {parent!r} is not writable")


def replace_file(path: str, data: bytes) -> None:
    """Write a file so that its path holds the old content or the new, never a part.

    The permission bits of a file that is replaced are kept, and its owner
    where allowed; a new file gets the usual ones. A link is followed, so that
    the file it points to is replaced. Only a process killed outright can
    leave the temporary file behind.
    """
    path = os.path.realpath(path)
    old = _status(path)
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)
    temporary = os.path.join(os.path.dirname(path), f".nlmeans-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # The umask applies to `mode` here, as for any new file.
        with open(os.open(temporary, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            _keep_owner(temporary, old)
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:  # an interrupt, too, must leave nothing behind
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _keep_owner(path: str, old: os.stat_result) -> None:
    new = os.stat(path)
    if hasattr(os, "chown") and (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(path, old.st_uid, old.st_gid)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
