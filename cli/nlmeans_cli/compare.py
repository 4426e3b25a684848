"""`nlm compare`."""

import time
from dataclasses import dataclass, fields
from typing import Any

import click
import numpy as np

from nlmeans import METHODS, NLMeansError
from nlmeans.files import Picture
from nlmeans.pipeline import settle
from nlmeans_cli import errors, inout, options, report
from nlmeans_cli.evaluate import measure
from nlmeans_cli.pages import check_options, denoise_pages, estimate_pages, pages_of
from nlmeans_cli.progress import Callback, Progress, part
from nlmeans_cli.units import Levels

WARM_UP = 32
"""Side of the crop that a method is run on before it is timed."""


@dataclass(frozen=True)
class Contest:
    """What every method gets.

    Parameters
    ----------
    picture : Picture
        The image.
    levels : Levels
        Its scale.
    strength : dict of str to float or None
        h and sigma in 8-bit gray levels.
    workers : int or None
        Number of threads.
    reference : Picture or None
        What to compare with.
    white : float or None
        Distance from black to white, if given.
    """

    picture: Picture
    levels: Levels
    strength: dict[str, float | None]
    workers: int | None
    reference: Picture | None
    white: float | None


@click.command(
    cls=errors.Command,
    epilog=options.examples(
        "nlm compare noisy.png",
        "nlm compare noisy.png --reference clean.png --sigma 25",
        "nlm compare noisy.png --method nlm --method opencv --json",
        methods=options.methods_list(),
    ),
)
@click.argument("image", type=options.PATH)
@click.option(
    "--reference",
    type=options.PATH,
    metavar="FILE",
    help="Image without noise: PSNR and SSIM are measured, too.",
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(METHODS)),
    multiple=True,
    help="Compare this method; can be given several times.  [default: all]",
)
@options.strength
@options.white
@options.workers
@options.quiet
@options.as_json
def compare(
    image: str,
    reference: str | None,
    methods: tuple[str, ...],
    h: float | None,
    sigma: float | None,
    white: float | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run every method on one IMAGE and tell how long each takes.

    --h and --sigma, in 8-bit gray levels, go to the methods that have them; without both, the
    noise level is estimated once. Everything else is left at its default.

    Times are wall-clock seconds of one run, without reading the file. Each method is first run on
    a small crop, untimed, so that compiling and loading it does not count. A method that can not
    take the image is listed with the reason.
    """
    inout.check_paths([image, reference] if reference else [image], (), force=False, format=None)
    check_options("nlm", {"h": h, "sigma": sigma}, white=white, workers=workers)
    with options.without_warnings(quiet), Progress("comparing", quiet=quiet) as progress:
        picture = inout.read(image)
        clean = inout.read(reference) if reference else None
        levels = Levels.of(picture.pixels.dtype, white)
        results = []
        with errors.about(image=image, reference=reference or ""):
            if clean:
                results.append({"method": None} | _quality(clean, picture, white))
            if h is None and sigma is None:
                estimates = estimate_pages(picture)
                strengths = [estimate.strength for estimate in estimates]
                sigma = sum(strengths) / len(strengths) / levels.scale
        contest = Contest(picture, levels, {"h": h, "sigma": sigma}, workers, clean, white)
        chosen = list(dict.fromkeys(methods)) or list(METHODS)
        for index, name in enumerate(chosen):
            results.append(_run(contest, name, part(progress, index, len(chosen))))
    if as_json:
        record = {"image": image, "reference": reference, "h": h, "sigma": sigma}
        report.out_json(record | {"results": results})
    else:
        _print(results, quality=clean is not None)
    return errors.FAILED if all("error" in r for r in results if r["method"]) else 0


def _run(contest: Contest, method: str, progress: Callback) -> dict[str, Any]:
    """Run one method; its failure is a result."""
    names = {field.name for field in fields(METHODS[method])}  # type: ignore[arg-type]
    strength = {name: value for name, value in contest.strength.items() if name in names}
    given = contest.levels.to_image(strength)
    try:
        with contest.levels.errors():
            _warm_up(contest, method, given)
            began = time.perf_counter()
            denoised, infos = denoise_pages(
                contest.picture, method, given, workers=contest.workers, progress=progress
            )
            seconds = time.perf_counter() - began
    except (NLMeansError, MemoryError) as error:
        reason = str(error) if isinstance(error, NLMeansError) else errors.message(error)
        return {"method": method, "error": reason}
    record = {
        "method": method,
        "seconds": seconds,
        "settings": contest.levels.to_levels(infos[0].settings),
    }
    if contest.reference:
        record |= _quality(contest.reference, denoised, contest.white)
    return record


def _warm_up(contest: Contest, method: str, given: dict[str, Any]) -> None:
    """Run a method on a corner of the image, with the settings that the whole image calls for."""
    page = pages_of(contest.picture)[0]
    image = page if contest.picture.channel_axis is not None else page[..., np.newaxis]
    denoiser = settle(image, method, given)
    denoiser(image[:WARM_UP, :WARM_UP], workers=contest.workers)


def _quality(reference: Picture, picture: Picture, white: float | None) -> dict[str, float]:
    values = measure(reference, picture, white)
    return {"psnr": values["psnr"], "ssim": values["ssim"]}


def _print(results: list[dict[str, Any]], *, quality: bool) -> None:
    """Print the results; the last column has no width to keep, so reasons stand there."""
    rows = []
    for result in results:
        row = [result["method"] or "(input)", report.number(result.get("seconds"), ".3f")]
        if quality:
            row += [
                report.number(result.get("psnr"), ".2f"),
                report.number(result.get("ssim"), ".4f"),
            ]
        numbers = {k: v for k, v in result.get("settings", {}).items() if not isinstance(v, str)}
        rows.append([*row, result.get("error") or report.settings(numbers)])
    measures = ["PSNR/dB", "SSIM"] if quality else []
    report.out_table(["method", "time/s", *measures, "settings"], rows, last_left=True)
