"""What goes to stdout as text: tables for people, JSON for programs."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import click


def out(text: str) -> None:
    """Print on stdout; what its encoding lacks is printed as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def out_json(value: Any) -> None:
    """Print as JSON, which has no infinity: null stands for it."""
    out(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def out_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, last_left: bool = False
) -> None:
    """Print a table: the first column to the left, the others, numbers, to the right."""
    lines = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = {0, len(head) - 1} if last_left else {0}
    for line in lines:
        cells = [
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out("  ".join(cells).rstrip())


def printable(text: str) -> str:
    """Text on one line and without control characters, which a file name may hold."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def number(value: float | None, form: str) -> str:
    """Format a number for a table; a dash where there is none."""
    return "-" if value is None else format(value, form)


def settings(options: dict[str, Any]) -> str:
    """Settings of a method on one line, those left out that do not apply."""

    def text(value: Any) -> str:
        if isinstance(value, tuple):
            return ",".join(map(text, value))
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return " ".join(f"{k}={text(value)}" for k, value in options.items() if value is not None)
