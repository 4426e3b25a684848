"""`nlm warmup`."""

from typing import Any

import click

from nlmeans import NLMeansError
from nlmeans.engines import get_engine
from nlmeans_cli import errors, options
from nlmeans_cli.progress import Progress


@click.command(cls=errors.Command, epilog=options.examples("nlm warmup", "nlm warmup --quiet"))
@options.quiet
def warmup(quiet: bool) -> None:
    """Compile what `nlm denoise` may need, so that no later run has to.

    For the patch sizes that are chosen by rule, in float32 and float64: about a minute, once after
    an installation or an upgrade. The result is kept in a folder for caches; the environment
    variable NLMEANS_CACHE_DIR names another.
    """
    engine: Any = get_engine("numba")
    with options.without_warnings(quiet), Progress("compiling", quiet=quiet) as progress:
        folder = engine.warm_up(progress)
    if folder is None:
        raise NLMeansError(
            "no folder for compiled kernels can be written; set NLMEANS_CACHE_DIR to one that can"
        )
    if not quiet:
        errors.say(f"nlm: kernels are in {str(folder)!r}")
