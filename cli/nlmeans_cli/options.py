"""Options that commands share, and the parts of their help."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

import click

from nlmeans import METHODS, MetadataWarning
from nlmeans.affinity import Center, PatchKernel
from nlmeans.denoisers import learned, nlm, ridge
from nlmeans.denoisers.base import Preset
from nlmeans.engines import ENGINES
from nlmeans.files import FORMATS
from nlmeans.noise.models import NOISE_MODELS

Function = TypeVar("Function", bound=Callable[..., Any])

# What can not be read or written is the library's to say, in one way for files and pipes.
PATH = click.Path(allow_dash=True, readable=False)


def examples(*lines: str, **lists: str) -> str:
    """Epilog of a help page; click keeps paragraphs that begin with a backspace as they are."""
    text = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
    for title, content in lists.items():
        text += f"\n\n\b\n{title.replace('_', ' ').capitalize()}:\n  {content}"
    return text


def methods_list() -> str:
    """The methods with their summaries, one a line."""
    return "\n  ".join(f"{name:10}{method.summary}" for name, method in METHODS.items())


def together(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Apply several options, in the order in which help lists them."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


white = click.option(
    "--white",
    type=float,
    metavar="VALUE",
    help="Distance from black to white in the values of the file, 4095 for 12 bits in a 16-bit "
    "file.  [default: the range of the depth, 255 or 65535; 1 for floats]",
)
workers = click.option(
    "--workers", type=int, help="Number of threads.  [default: one for each processor]"
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress bar and no warnings.")
strength = together(
    click.option("--h", type=float, help="Filter strength in 8-bit gray levels (0 to 255)."),
    click.option(
        "--sigma",
        type=float,
        help="Standard deviation of the noise in 8-bit gray levels (0 to 255), of speckle that of "
        "the factor.  [default: estimated, unless --h is given]",
    ),
)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between them."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse."""
        try:
            return tuple(float(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers with commas between them", param, ctx)


noise_options = together(
    click.option(
        "--noise",
        type=click.Choice(list(NOISE_MODELS)),
        help="Kind of noise, for every method; parameters that are not given are estimated.  "
        "[default: gaussian; estimated, if no strength is given]",
    ),
    click.option(
        "--gain",
        type=float,
        help="poisson, poisson-gaussian: 8-bit gray levels for one count; at a level the variance "
        "is gain * level.",
    ),
    click.option(
        "--scales",
        type=Numbers(),
        metavar="S1,S2,...",
        help="Correlated noise: sigma at scale 1, 2, 4 ..., in place of --sigma.",
    ),
    click.option(
        "--chroma",
        type=float,
        help="Strength for colors, as a multiple of that for lightness.  [default: 1]",
    ),
    click.option(
        "--tune",
        is_flag=True,
        help="nlm: refine the strength by an estimate of the error that is left (SURE).",
    ),
)
output = together(
    click.option(
        "--format",
        metavar="NAME",
        help=f"Format to write: {', '.join(name.lower() for name in FORMATS)}.  "
        "[default: by the extension of the output]",
    ),
    click.option("-f", "--force", is_flag=True, help="Overwrite an input, if it is the output."),
)
method_options = together(
    click.option("--patch-radius", type=int, help="nlm, opencv: r of patches of 2 r + 1 pixels."),
    click.option(
        "--search-radius",
        type=int,
        help="nlm, learned-nlm, ridge, opencv: r of the window to look in.",
    ),
    click.option(
        "--patch-kernel",
        type=click.Choice(get_args(PatchKernel)),
        help="nlm: weights of the pixels of a patch.  [default: flat]",
    ),
    click.option(
        "--center",
        type=click.Choice(get_args(Center)),
        help="nlm: weight of the pixel itself.  [default: max with --sigma, one with --h alone]",
    ),
    click.option(
        "--preset",
        type=click.Choice(get_args(Preset)),
        help="How much to spend.  "
        + "  ".join(
            f"{method}: " + "; ".join(f"{name}, {cost}" for name, cost in presets.items()) + "."
            for method, presets in (
                ("nlm", nlm.PRESETS),
                ("ridge", ridge.PRESETS),
                ("learned", learned.PRESETS),
            )
        )
        + "  [default: balanced; fast with --h alone]",
    ),
    click.option(
        "--h-color",
        type=float,
        help="opencv, RGB: strength for the colors, in 8-bit gray levels.  "
        "[default: --h, or from --sigma]",
    ),
    click.option("--radius", type=int, help="mean, median: r of a box of 2 r + 1.  [default: 1]"),
    click.option("--std", type=float, help="gaussian: standard deviation in pixels.  [default: 1]"),
    click.option(
        "--engine",
        type=click.Choice(list(ENGINES)),
        help="nlm, learned-nlm, ridge: what computes it; torch: not ridge.  [default: numba]",
    ),
    click.option(
        "--device",
        metavar="NAME",
        help="learned, and --engine torch: where PyTorch is to compute: cpu, cuda ...",
    ),
)


@contextlib.contextmanager
def without_warnings(quiet: bool) -> Iterator[None]:
    """Keep --quiet's promise of no warnings, nor notices."""
    log = logging.getLogger("nlmeans")
    level = log.level
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", MetadataWarning)
            log.setLevel(logging.WARNING)
        try:
            yield
        finally:
            log.setLevel(level)
