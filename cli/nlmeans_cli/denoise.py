"""`nlm denoise`."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from nlmeans import METHODS, DenoiseInfo
from nlmeans.files.formats import choose
from nlmeans_cli import errors, inout, options, report
from nlmeans_cli.pages import check_options, denoise_pages
from nlmeans_cli.progress import Callback, Progress, part
from nlmeans_cli.units import Levels


@dataclass(frozen=True)
class Task:
    """What to do with every file."""

    method: str
    options: dict[str, Any]
    white: float | None
    workers: int | None
    format: str | None
    verbose: bool


@dataclass(frozen=True)
class Job:
    """One file to denoise."""

    source: str
    target: str


@click.command(
    cls=errors.Command,
    epilog=options.examples(
        "nlm denoise noisy.png clean.png",
        "nlm denoise noisy.tif clean.tif --sigma 15 -v",
        "nlm denoise scans/*.png -o clean",
        "cat noisy.png | nlm denoise - - --format png > clean.png",
        methods=options.methods_list(),
    ),
)
@click.argument("paths", nargs=-1, required=True, type=options.PATH, metavar="IN... OUT")
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, readable=False),
    metavar="DIR",
    help="Denoise every file given into this directory, under its own name.",
)
@options.strength
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="nlm",
    show_default=True,
    help="How to denoise, see below.",
)
@options.noise_options
@options.method_options
@options.white
@options.output
@options.workers
@options.quiet
@click.option("-v", "--verbose", is_flag=True, help="Tell the settings used on standard error.")
@options.as_json
def denoise(
    paths: tuple[str, ...],
    output_dir: str | None,
    white: float | None,
    method: str,
    format: str | None,
    force: bool,
    workers: int | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **method_options: Any,
) -> int:
    """Denoise the image IN to OUT, or many into a directory.

    - stands for standard input or, with --format, standard output. An OUT that exists is
    replaced, but an input never without --force.

    --h, --sigma and --h-color are in 8-bit gray levels (0 to 255) whatever the depth of the file:
    in a 16-bit file one level is 257 steps. Floats are taken to run from 0 to 1; --white says
    otherwise. --h alone selects plain NL-means with OpenCV's meaning of h, --sigma the settings
    for that noise level. Without both, the noise is estimated: its level, and whether it is white
    or, as in the JPEGs of a camera, correlated between pixels. An option that the method does not
    have is an error.

    Each page of a file is denoised as an image of its own. Alpha and metadata are kept.

    --json prints for each file what was done, with h and sigma in 8-bit gray levels.
    """
    task = Task(method, method_options, white, workers, format, verbose)
    if format is not None:
        choose(None, format)
    check_options(method, method_options, white=white, workers=workers)
    jobs = _plan(paths, output_dir, format)
    targets = [job.target for job in jobs]
    inout.check_paths([job.source for job in jobs], targets, force=force, format=format)
    if as_json and inout.PIPE in targets:
        raise click.UsageError("--json can not be given with '-' as output: both are printed")
    batch = errors.Batch()
    with (
        options.without_warnings(quiet),
        _directory(output_dir),
        Progress("denoising", quiet=quiet) as progress,
    ):
        for index, job in enumerate(jobs):
            name = {"input": job.source, "output": job.target}
            batch.add(name, partial(_run, task, job, part(progress, index, len(jobs))))
    if as_json:
        report.out_json(batch.records)
    return batch.exit_code()


def _plan(paths: tuple[str, ...], directory: str | None, format: str | None) -> list[Job]:
    """Say which file goes where."""
    if directory is None:
        if len(paths) != 2:
            raise click.UsageError("give one IN and one OUT, or many IN with -o DIR")
        return [Job(*paths)]
    jobs: dict[str, Job] = {}
    for path in paths:
        if path == inout.PIPE:
            raise click.UsageError("'-' can not be used with -o DIR: it has no name")
        name = os.path.basename(path)
        if format is not None:
            name = os.path.splitext(name)[0] + choose(None, format).extensions[0]
        key = os.path.normcase(name)
        if key in jobs:
            raise click.UsageError(
                f"{jobs[key].source!r} and {path!r} would both become {name!r} in {directory!r}"
            )
        jobs[key] = Job(path, os.path.join(directory, name))
    return list(jobs.values())


@contextlib.contextmanager
def _directory(path: str | None) -> Iterator[None]:
    """Make the output directory if it is missing, and take it back if nothing came into it."""
    if path is None or os.path.isdir(path):
        yield
        return
    os.mkdir(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty, as it should be
            os.rmdir(path)


def _run(task: Task, job: Job, progress: Callback) -> dict[str, Any]:
    """Denoise one file and say how."""
    began = time.perf_counter()
    picture = inout.read(job.source)
    inout.check_target(job.target, picture, task.format)
    levels = Levels.of(picture.pixels.dtype, task.white)

    with errors.about(image=job.source), levels.errors():
        denoised, infos = denoise_pages(
            picture,
            task.method,
            levels.to_image(task.options),
            workers=task.workers,
            progress=progress,
        )
    inout.write(job.target, denoised, task.format)
    seconds = time.perf_counter() - began
    pages = [_page_record(info, levels) for info in infos]
    if task.verbose:
        for number, page in enumerate(pages, 1):
            _tell(job, page, number if len(pages) > 1 else None, seconds)
    return {"method": task.method, "seconds": seconds, "pages": pages}


def _page_record(info: DenoiseInfo, levels: Levels) -> dict[str, Any]:
    """What `denoise` says it did, in 8-bit gray levels, but for settings of a stabilized image."""
    found = info.noise
    noise = {
        "noise": found.model,
        "sigma": found.sigma,
        "gain": found.gain,
        "scales": found.scales,
    }
    stabilized = found.model != "gaussian"
    risk = info.risk
    if risk is not None and not stabilized:
        risk /= levels.scale**2
    return {
        "settings": info.settings if stabilized else levels.to_levels(info.settings),
        "noise": levels.to_levels(noise),
        "estimated_sigma": levels.to_levels({"sigma": info.estimated_sigma})["sigma"],
        "estimated_mse": risk,
    }


def _tell(job: Job, page: dict[str, Any], number: int | None, seconds: float) -> None:
    """Print the settings of a page; the time is that of the whole file."""
    which = f" page {number}" if number is not None else ""
    estimated = " (estimated)" if page["estimated_sigma"] is not None else ""
    noise, text = report.settings(page["noise"]), report.settings(page["settings"])
    errors.say(
        f"nlm: {job.source!r} -> {job.target!r}{which}: {noise}{estimated}; {text}, {seconds:.2f} s"
    )
