"""A bar on the terminal of stderr, for work that takes longer than a second."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from click import progressbar

DELAY = 1.0
"""Seconds of work before a bar appears."""

STEPS = 1000

Callback = Callable[[float], None]

_active: "Progress | None" = None


def part(progress: Callback, index: int, count: int) -> Callback:
    """Progress of one part of so many, each taken to be equally long."""
    return lambda fraction: progress((index + fraction) / count)


def pause() -> None:
    """End the line of the bar, so that something else can be printed; the bar starts anew."""
    if _active is not None:
        _active.pause()


class Progress:
    """Progress of a command, called with the fraction done.

    Parameters
    ----------
    label : str
        What stands before the bar.
    quiet : bool
        Show nothing.
    """

    def __init__(self, label: str, *, quiet: bool) -> None:
        self._label = label
        self._shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._began = time.time()
        self._bar = progressbar(length=STEPS, label=label, file=sys.stderr)
        self._drawn = False

    def __enter__(self) -> Self:
        global _active
        _active = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _active
        self.pause()
        _active = None

    def __call__(self, fraction: float) -> None:
        """Show the fraction done, from 0 to 1."""
        if not self._shown or time.time() < self._began + DELAY:
            return
        if not self._drawn:
            self._bar = progressbar(length=STEPS, label=self._label, file=sys.stderr)
            # The remaining time is judged by all of the work, not by what the bar has seen.
            self._bar.start = self._began
            self._drawn = True
        self._bar.update(round(fraction * STEPS) - self._bar.pos)

    def pause(self) -> None:
        """End the line of the bar."""
        if self._drawn:
            self._bar.render_finish()
            self._drawn = False
