"""The group of all commands."""

import click

import nlmeans
from nlmeans_cli import errors
from nlmeans_cli.benchmark import benchmark
from nlmeans_cli.compare import compare
from nlmeans_cli.denoise import denoise
from nlmeans_cli.evaluate import evaluate
from nlmeans_cli.info import info
from nlmeans_cli.noise import noise
from nlmeans_cli.options import examples
from nlmeans_cli.warmup import warmup


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "nlm denoise noisy.png clean.png",
        "nlm denoise --help",
        exit_codes="0 done, 1 failed, 2 usage, 3 part of a batch failed, 130 interrupted",
    ),
)
@click.version_option(nlmeans.__version__, prog_name="nlm", message="%(prog)s %(version)s")
@click.pass_context
def nlm(context: click.Context) -> None:
    """Denoise images by weighted non-local averaging, and measure how well.

    Reads and writes PNG, JPEG, TIFF, WebP and BMP, in the depth of the file, with its alpha and
    metadata. Strengths and noise levels are given in 8-bit gray levels (0 to 255) whatever the
    depth. Images and tables go to standard output, everything else to standard error.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(errors.USAGE)


for command in (denoise, evaluate, noise, compare, info, benchmark, warmup):
    nlm.add_command(command)
