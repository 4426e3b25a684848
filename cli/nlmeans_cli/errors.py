"""Errors and warnings as the user sees them: one line on stderr, and an exit code."""

import contextlib
import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click

from nlmeans import FileError, MetadataWarning, NLMeansError, ParameterError
from nlmeans_cli import progress

FAILED, USAGE, PARTLY_FAILED = 1, 2, 3

OPTION_OF = {"data_range": "white"}
"""Options that are not called like the argument of the library that they set."""


class Command(click.Command):
    """A command in which an argument that the library refuses is a usage error of its option."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ParameterError as error:
            raise _explained(error) from error.__cause__


def _explained(error: Exception) -> Exception:
    """Say --patch-radius for patch_radius, if the command that runs has such an option."""
    context = click.get_current_context(silent=True)
    if context is None or not isinstance(error, ParameterError):
        return error
    name = OPTION_OF.get(error.name, error.name)
    for option in context.command.params:
        if isinstance(option, click.Option) and option.name == name:
            flag = max(option.opts, key=len)
            return click.UsageError(str(ParameterError(flag, error.rule, error.got)), context)
    return error


@contextlib.contextmanager
def about(**places: str) -> Iterator[None]:
    """Name the file where the library names its argument: about(image="a.png")."""
    try:
        yield
    except ParameterError as error:
        place = places.get(error.name)
        if place is None:
            raise
        named = ParameterError(repr("<stdin>" if place == "-" else place), error.rule, error.got)
        raise FileError(str(named)) from error


def message(error: Exception) -> str:
    """One line that says what went wrong."""
    error = _explained(error)
    if isinstance(error, click.UsageError):
        text = _lower(error.format_message().rstrip("."))
        if error.ctx is not None:
            text += f" (see '{error.ctx.command_path} --help')"
    elif isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, NLMeansError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "not enough memory"
    elif isinstance(error, OSError):
        place = f"{error.filename!r}: " if error.filename is not None else ""
        text = place + _lower(error.strerror or str(error) or type(error).__name__)
    else:
        text = (
            f"internal error: {type(error).__name__}: {error}; "
            "set NLM_TRACEBACK=1 in the environment to see more"
        )
    return " ".join(text.split())


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def exit_code(error: Exception) -> int:
    """Exit code of a program that ends with an error."""
    return USAGE if isinstance(_explained(error), click.UsageError) else FAILED


def show(error: Exception) -> None:
    """Print an error on stderr; an interrupt and a broken pipe are left to `main`."""
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, click.Abort):  # what click makes of Ctrl-C
        raise KeyboardInterrupt
    if os.environ.get("NLM_TRACEBACK"):
        say("".join(traceback.format_exception(error)).rstrip())
    say(f"nlm: error: {message(error)}")


def say(line: str) -> None:
    """Print a line on stderr, below a progress bar if there is one."""
    progress.pause()
    click.echo(line, err=True)


class Batch:
    """Work on many files, of which one that fails does not keep the others from it.

    `records` holds a dict for each, with "error" where it failed.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._failures: list[Exception] = []

    def add(self, name: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Record what the work on one file returns, or show why it failed."""
        try:
            record = name | work()
        except Exception as error:
            show(error)
            self._failures.append(error)
            record = name | {"error": message(error)}
        self.records.append(record)
        return record

    def exit_code(self) -> int:
        """Exit code of it all; a single file fails for its own reason."""
        if not self._failures:
            return 0
        if len(self._failures) < len(self.records):
            return PARTLY_FAILED
        return exit_code(self._failures[0]) if len(self.records) == 1 else FAILED


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show the warnings meant for users as one line each, and no others."""

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say(f"nlm: warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MetadataWarning)
        warnings.showwarning = show_warning
        yield


class _CompileNotice(logging.Handler):
    """Say once that kernels are being compiled, because that takes seconds."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, for the first kernel."""
        if self._told:
            return
        self._told = True
        kept = (
            "this happens once"
            if "not kept" not in record.getMessage()
            else ("this happens in every run, as no cache can be written (see nlm warmup --help)")
        )
        say(f"nlm: compiling for this machine, about 10 s; {kept}")


@contextlib.contextmanager
def compile_notice() -> Iterator[None]:
    """Tell the user of the library's log that it compiles."""
    log = logging.getLogger("nlmeans")
    handler, level = _CompileNotice(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
