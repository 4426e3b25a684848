"""`nlm noise`."""

import click

import nlmeans
from nlmeans.noise.models import NOISE_MODELS
from nlmeans.pipeline import NoiseName
from nlmeans_cli import errors, inout, options
from nlmeans_cli.units import Levels


@click.command(
    cls=errors.Command,
    epilog=options.examples(
        "nlm noise clean.png noisy.png --sigma 25",
        "nlm noise clean.tif noisy.tif --sigma 10 --seed 7",
        "nlm noise clean.png counts.png --noise poisson --gain 8",
    ),
)
@click.argument("source", type=options.PATH, metavar="IN")
@click.argument("target", type=options.PATH, metavar="OUT")
@click.option(
    "--sigma",
    type=float,
    help="Standard deviation of the noise in 8-bit gray levels (0 to 255), of speckle that of the "
    "factor.",
)
@click.option(
    "--noise",
    "kind",
    type=click.Choice(list(NOISE_MODELS)),
    default="gaussian",
    show_default=True,
    help="Kind of noise.",
)
@click.option(
    "--gain", type=float, help="poisson, poisson-gaussian: 8-bit gray levels for one count."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the noise: the same seed gives the same noise.",
)
@options.white
@options.output
def noise(
    source: str,
    target: str,
    sigma: float | None,
    kind: NoiseName,
    gain: float | None,
    seed: int,
    white: float | None,
    format: str | None,
    force: bool,
) -> None:
    """Add noise to the image IN and write it to OUT.

    --sigma and --gain are in 8-bit gray levels whatever the depth of the file. Integer images are
    rounded and clipped to the range of their depth, so that noise in black and white is cut off;
    floats are not. Alpha gets no noise.
    """
    if sigma is None and kind != "poisson":
        raise click.UsageError("missing option '--sigma'")
    inout.check_paths([source], [target], force=force, format=format)
    picture = inout.read(source)
    inout.check_target(target, picture, format)
    levels = Levels.of(picture.pixels.dtype, white)
    with errors.about(image=source), levels.errors():
        given = levels.to_image({"noise": kind, "sigma": sigma, "gain": gain})
        noisy = nlmeans.add_noise(picture.pixels, **given, rng=seed)
    inout.write(target, picture.with_pixels(noisy), format)
