"""Telling how far the work is."""

from collections.abc import Callable

Progress = Callable[[float], None]
"""Takes the fraction that is done, from 0 to 1."""


def part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """What reports the progress of a part of the work as one of the whole."""
    if progress is None:
        return None
    report = progress
    return lambda fraction: report(start + (stop - start) * fraction)
