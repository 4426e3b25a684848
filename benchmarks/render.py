"""The README's speed tables, from the figures that benchmarks/speed.py wrote.

    python benchmarks/render.py [--check]

Replaces what stands between the two marks in README.md; with --check only tells, by its exit code,
whether that is up to date.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from nlmeans.timing import summarize

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def image_table(cases: list[dict[str, Any]]) -> list[str]:
    """A row for each case: seconds, and each other tool's multiple of ours."""
    others = [
        name for name in ("OpenCV", "scikit-image") if any(name in c["seconds"] for c in cases)
    ]
    head = ["image", "MP", "threads", "nlmeans, s", "MP/s"]
    lines = [row(head + [f"{name}, s (times ours)" for name in others])]
    lines.append(row(["---"] * (len(head) + len(others))))
    for case in cases:
        found = summarize(case["seconds"], "nlmeans")
        ours = found["nlmeans"].median
        # A size of 1 MP is 1024 x 1024.
        speed = case["megapixels"] * 1024**2 / 1e6 / ours
        cells = [
            f"{case['kind']} {case['dtype']}", f"{case['megapixels']:g}", str(case["threads"]),
            f"{ours:.3f}", f"{speed:.1f}",
        ]  # fmt: skip
        for name in others:
            other = found.get(name)
            cells.append(f"{other.median:.2f} (**{other.ratio:.1f}**)" if other else "")
        lines.append(row(cells))
    return lines


def notes(results: dict[str, Any]) -> list[str]:
    """Threads, linearity and the share of arithmetic, in a sentence each."""
    times = {
        (c["kind"], c["dtype"], c["megapixels"], c["threads"]): statistics.median(
            c["seconds"]["nlmeans"]
        )
        for c in results["cases"]
    }
    text = []
    most = max((key[3] for key in times), default=1)
    pairs = [(t, times.get((*k[:3], most))) for k, t in times.items() if k[3] == 1 and k[2] >= 1]
    gain = [one / all_ for one, all_ in pairs if all_]
    if most > 1 and gain:
        text.append(
            f"{most} threads are {min(gain):.2f} to {max(gain):.2f} times as fast as one, "
            "from 1 MP on."
        )
    per = [
        t / key[2] / times[(*key[:2], 1, key[3])] for key, t in times.items() if key[2] > 1
    ]  # fmt: skip
    if per:
        text.append(
            f"A megapixel of a larger picture takes {min(per):.2f} to {max(per):.2f} times as long "
            "as one alone."
        )
    if "roofline" in results:
        text.append(
            "The arithmetic alone, at the rate at which this processor was found to add and "
            f"multiply, is {100 * results['roofline']['fraction']:.0f} % of the time of 1 MP gray."
        )
    return text


def volume_table(volume: dict[str, Any]) -> list[str]:
    """Voxels a second and PSNR of each tool on the crop, and ours on the whole."""
    found = summarize(volume["seconds"], "nlmeans")
    voxels = math.prod(volume["crop"])
    crop, whole = (" x ".join(map(str, volume[key])) for key in ("crop", "shape"))
    lines = [row(["volume", "settings", "Mvoxel/s", "times ours", "PSNR, dB"]), row(["---"] * 5)]
    for name, summary in found.items():
        speed = voxels / summary.median / 1e6
        cells = [f"{name}, {crop}", volume["settings"][name], f"{speed:.3g}"]
        lines.append(row([*cells, f"{summary.ratio:.1f}", f"{volume['psnr'][name]:.2f}"]))
    speed = math.prod(volume["shape"]) / statistics.median(volume["seconds_whole"]) / 1e6
    psnr = volume["psnr_whole"]["nlmeans"]
    lines.append(row([f"nlmeans, {whole}", "by rule", f"{speed:.3g}", "", f"{psnr:.2f}"]))
    return lines


def markdown(results: dict[str, Any]) -> str:
    """All tables, with what they were measured on."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"{machine['processor']}, {machine['processors']} processors, Python {machine['python']}, "
        f"{versions}; {machine['date']}. Medians; ratios round by round.",
        "",
    ]
    if results["cases"]:
        lines += [*image_table(results["cases"]), "", *notes(results)]
    if "volume" in results:
        lines += ["", *volume_table(results["volume"])]
    return "\n".join(lines) + "\n"


def placed(readme: str, text: str) -> str:
    """README with the text between its two marks."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md must hold {BEGIN} and {END} once each")
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}{END}{after}"


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    path = ROOT / "README.md"
    results = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text())
    readme = path.read_text()
    text = placed(readme, markdown(results))
    if arguments.check:
        return int(text != readme)
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
