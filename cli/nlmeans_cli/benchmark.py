"""`nlm benchmark`."""

from dataclasses import asdict, fields
from functools import partial
from typing import Any

import click

from nlmeans import METHODS, NLMeansError
from nlmeans.timing import interleaved, summarize
from nlmeans_cli import errors, inout, options, report
from nlmeans_cli.pages import check_options, denoise_pages, estimate_pages, pages_of
from nlmeans_cli.progress import Progress
from nlmeans_cli.units import Levels

CONTENDERS = ("nlm", "opencv")


@click.command(
    cls=errors.Command,
    epilog=options.examples("nlm benchmark in.png --h 10", "nlm benchmark in.tif --workers 1"),
)
@click.argument("image", type=options.PATH)
@options.strength
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Timed runs of each method.",
)
@options.white
@options.workers
@options.quiet
@options.as_json
def benchmark(
    image: str,
    h: float | None,
    sigma: float | None,
    rounds: int,
    white: float | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Tell how fast IMAGE is denoised, beside OpenCV where that takes it.

    After an untimed run of each the two take turns. The ratio is the median, round by round, of
    the time as a multiple of that of nlm. Reading the file, and estimating the noise where neither
    --h nor --sigma is given, do not count. nlm compare has the quality.
    """
    inout.check_paths([image], (), force=False, format=None)
    check_options("nlm", {"h": h, "sigma": sigma}, white=white, workers=workers)
    with options.without_warnings(quiet), Progress("timing", quiet=quiet) as progress:
        picture = inout.read(image)
        levels = Levels.of(picture.pixels.dtype, white)
        with errors.about(image=image):
            if h is None and sigma is None:
                strengths = [estimate.strength for estimate in estimate_pages(picture)]
                sigma = sum(strengths) / len(strengths) / levels.scale
        runs, reasons = {}, {}
        for method in CONTENDERS:
            names = {field.name for field in fields(METHODS[method])}  # type: ignore[arg-type]
            given = {k: v for k, v in {"h": h, "sigma": sigma}.items() if k in names}
            run = partial(
                denoise_pages, picture, method, levels.to_image(given), workers=workers,
                progress=lambda fraction: None,
            )  # fmt: skip
            try:
                with levels.errors(), errors.about(image=image):
                    run()
            except NLMeansError as error:
                reasons[method] = str(error)
            else:
                runs[method] = run
        if "nlm" not in runs:
            raise NLMeansError(reasons["nlm"])
        seconds = interleaved(runs, rounds, progress=progress)
    *_, height, width = picture.plane_shape
    megapixels = height * width * len(pages_of(picture)) / 1e6
    results: list[dict[str, Any]] = [
        {"method": name, "megapixels_per_second": megapixels / summary.median}
        | asdict(summary)
        | {"seconds": seconds[name]}
        for name, summary in summarize(seconds, "nlm").items()
    ]
    results += [{"method": name, "error": reason} for name, reason in reasons.items()]
    if as_json:
        record = {"image": image, "megapixels": megapixels, "h": h, "sigma": sigma}
        report.out_json(record | {"results": results})
    else:
        _print(results)
    return 0


def _print(results: list[dict[str, Any]]) -> None:
    """Print the results; why a method is missing stands in the last column."""
    rows = [
        [
            result["method"],
            *(report.number(result.get(key), ".3f") for key in ("median", "least")),
            report.number(result.get("megapixels_per_second"), ".2f"),
            report.number(result.get("ratio"), ".2f"),
            result.get("error", ""),
        ]
        for result in results
    ]
    report.out_table(["method", "median/s", "least/s", "MP/s", "ratio", ""], rows, last_left=True)
