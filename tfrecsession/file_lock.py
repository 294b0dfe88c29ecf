"""A lock between processes, on an open file or folder."""

from __future__ import annotations


def lock(file) -> bool:
    """Locks an open file or folder, given as a file object or descriptor; returns False if another process holds it.

    The lock ends when the file is closed, or when the process dies. Systems without `flock` (Windows) lock nothing.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
