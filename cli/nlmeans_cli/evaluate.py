"""`nlm evaluate`."""

from functools import partial
from typing import Any

import click
import numpy as np

import nlmeans
from nlmeans.files import Picture
from nlmeans.validation import check_number
from nlmeans_cli import errors, inout, options, report
from nlmeans_cli.pages import pages_of


@click.command(
    cls=errors.Command,
    epilog=options.examples(
        "nlm evaluate clean.png noisy.png denoised.png",
        "nlm evaluate clean.tif denoised.tif --white 4095 --json",
    ),
)
@click.argument("reference", type=options.PATH)
@click.argument("images", nargs=-1, required=True, type=options.PATH, metavar="IMAGE...")
@options.white
@options.as_json
def evaluate(reference: str, images: tuple[str, ...], white: float | None, as_json: bool) -> int:
    """Measure how close images are to a REFERENCE: PSNR, SSIM and MSE.

    PSNR is in decibels, inf for equal images, and takes --white for the peak. SSIM uses the
    settings of its authors, averaged over channels and pages. MSE is in squared units of the
    file. Both images must have the same size and depth; alpha is not compared.

    --json prints an object for each image, with null for an infinite PSNR.
    """
    inout.check_paths((reference, *images), (), force=False, format=None)
    if white is not None:
        check_number("white", white, above=0)
    first = inout.read(reference)
    batch = errors.Batch()
    for path in images:
        batch.add({"image": path}, partial(_evaluate, first, path, white, reference=reference))
    if as_json:
        report.out_json(batch.records)
    else:
        _print([record for record in batch.records if "error" not in record])
    return batch.exit_code()


def _evaluate(first: Picture, path: str, white: float | None, *, reference: str) -> dict[str, Any]:
    with errors.about(reference=reference, image=path):
        return dict(measure(first, inout.read(path), white))


def measure(reference: Picture, image: Picture, white: float | None) -> dict[str, float]:
    """PSNR, SSIM and MSE of a picture."""
    x, y = reference.pixels, image.pixels
    # Two float images are taken to run from 0 to 1; two depths have no common range to guess.
    if white is None and x.dtype.kind == "f" and y.dtype.kind == "f":
        white = 1.0
    psnr = nlmeans.psnr(x, y, data_range=white)
    ssim = [
        nlmeans.ssim(a, b, channel_axis=reference.channel_axis, data_range=white)
        for a, b in zip(pages_of(reference), pages_of(image), strict=True)
    ]
    return {"psnr": psnr, "ssim": float(np.mean(ssim)), "mse": nlmeans.mse(x, y)}


def _print(records: list[dict[str, Any]]) -> None:
    rows = [
        [r["image"], f"{r['psnr']:.2f}", f"{r['ssim']:.4f}", f"{r['mse']:.6g}"] for r in records
    ]
    if rows:
        report.out_table(["image", "PSNR/dB", "SSIM", "MSE"], rows)
