"""The entry point: whatever happens, one line and an exit code, never a traceback.

Exit codes: 0 done, 1 failed, 2 usage, 3 part of a batch failed, 130 interrupted.
"""

import contextlib
import signal
import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run `nlm` and return its exit code.

    Parameters
    ----------
    args : sequence of str, optional
        What follows the program's name. Default: the arguments of the process, in which click
        expands patterns on Windows, whose shells do not.
    """
    try:
        # Here, not above: what goes wrong during these imports must be caught, too.
        try:
            from nlmeans_cli import errors
            from nlmeans_cli.commands import nlm
        except ImportError as error:
            _say(f"nlm: error: the installation is damaged: {error}")
            return 1
        try:
            with errors.warnings_as_lines(), errors.compile_notice():
                code = nlm.main(args, prog_name="nlm", standalone_mode=False)
        except SystemExit:  # click's answer to a pipe that nobody reads any more
            return 1
        except Exception as error:
            errors.show(error)
            return errors.exit_code(error)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        # A second Ctrl-C would hit the interpreter while it waits for the last threads.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _say("nlm: interrupted")
        return 130
    except BrokenPipeError:  # of stderr, so that there is no one to tell
        return 1


def _say(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(line + "\n")
