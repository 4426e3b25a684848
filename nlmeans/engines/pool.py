"""Tasks over threads, their results in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

AHEAD = 4
"""Tasks for each thread that are waiting or done but not yet asked for."""


def in_order(
    run: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    progress: Callable[[float], None] | None,
) -> Iterator[Any]:
    """Yield run(task) for each task. An error or Ctrl-C drops those that have not begun."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Any]] = deque()
        try:
            for number, task in enumerate(tasks):
                pending.append(pool.submit(run, task))
                if len(pending) > AHEAD * workers or number == len(tasks) - 1:
                    while pending and (len(pending) > AHEAD * workers or number == len(tasks) - 1):
                        yield pending.popleft().result()
                        if progress is not None:
                            progress((number + 1 - len(pending)) / len(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
