"""Times that can be compared: contenders run in turn, so that a machine's moods meet them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Times of one contender.

    Parameters
    ----------
    median, least : float
        Of its runs, in seconds.
    ratio, ratio_least, ratio_most : float
        Median and range, over the rounds, of its time as a multiple of that of the base.
    """

    median: float
    least: float
    ratio: float
    ratio_least: float
    ratio_most: float


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[float], None] | None = None,
) -> dict[str, list[float]]:
    """Run each contender once untimed, then all in turn, A B C A B C, `rounds` times.

    Parameters
    ----------
    contenders : mapping of str to callable
        What to run, by name.
    rounds : int
        Timed runs of each.
    clock : callable, optional
        Seconds from any moment on.
    progress : callable, optional
        Called with the fraction done, from 0 to 1.

    Returns
    -------
    seconds : dict of str to list of float
        Of every run, in order.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    total, done = (rounds + 1) * len(contenders), 0
    for index in range(rounds + 1):
        for name, run in contenders.items():
            began = clock()
            run()
            if index:
                seconds[name].append(clock() - began)
            done += 1
            if progress is not None:
                progress(done / total)
    return seconds


def summarize(seconds: Mapping[str, Sequence[float]], base: str) -> dict[str, Summary]:
    """Median, least and, round by round, the multiple of the base's time.

    A contender with fewer rounds is compared in those that it has.
    """
    result = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[base], strict=False)]
        result[name] = Summary(
            statistics.median(own), min(own), statistics.median(ratios), min(ratios), max(ratios)
        )
    return result
