"""The README's tables, from the figures that benchmarks/speed.py, quality.py, ablations.py wrote.

    python benchmarks/render.py [--check]

Replaces what stands between the marks of each table in README.md; with --check only tells, by its
exit code, whether that is up to date.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import NOISES, SETS, Case
from contenders import contenders

from nlmeans.timing import summarize

ROOT = Path(__file__).parents[1]


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
    settings = volume["settings"]["nlmeans"]
    lines.append(row([f"nlmeans, {whole}", settings, f"{speed:.3g}", "", f"{psnr:.2f}"]))
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


def case_of(row: dict[str, Any]) -> Case:
    """What a row of the quality suite is about; an unknown one is an error."""
    case = Case(row["set"], row["noise"], row["peak"] or row["sigma"])
    known = case.noise in NOISES and case.set in NOISES[case.noise].sets
    if not known or row["contender"] not in [one.name for one in contenders(case)]:
        raise ValueError(f"unknown row: {row['set']}, {row['noise']}, {row['contender']}")
    return case


def quality_table(rows: list[dict[str, Any]]) -> list[str]:
    """A set with one kind of noise: a line for each contender, a column for each level."""
    cases = {case_of(r).level or 0: case_of(r) for r in rows}
    levels = sorted(cases)
    case = cases[levels[0]]
    kind, middle = NOISES[case.noise], levels[(len(levels) - 1) // 2]
    count = {r["images"] for r in rows}
    if len(count) > 1:
        raise ValueError(f"rows of {case.set}, {case.noise} are means over {sorted(count)} images")
    head = [f"{SETS[case.set]} ({count.pop()}), {kind.title}"]
    head += [f"{kind.unit} {level:g}" if kind.unit else "PSNR / SSIM" for level in levels]
    head.append(f"MP/s, {kind.unit} {middle:g}" if len(levels) > 1 else "MP/s")
    # With more levels the settings would outgrow the rest; quality.json has them.
    head += ["least PSNR"] * (case.noise == "clean") + ["settings"] * (len(levels) == 1)
    lines = [row(head), row(["---"] * len(head))]
    for name in [one.name for one in contenders(case)]:
        own = {case_of(r).level or 0: r for r in rows if r["contender"] == name}
        if not own:
            continue
        some = next(iter(own.values()))
        cells = [name + " (8-bit input)" * some["eight_bit"]]
        for level in levels:
            r = own.get(level)
            cells.append(f"{r['psnr']:.2f} / {r['ssim']:.3f}" if r else "")
        speed = own[middle]["mp_per_s"] if middle in own else None
        cells.append("" if speed is None else f"{speed:.2g}" if speed < 10 else f"{speed:.0f}")
        if case.noise == "clean":
            cells.append(f"{some['psnr_least']:.2f}")
        if len(levels) == 1:
            cells.append(", ".join(f"{key} {value:g}" for key, value in some["settings"].items()))
        lines.append(row(cells))
    return lines


def quality_markdown(results: dict[str, Any]) -> str:
    """All tables of the quality suite, in the order of benchmarks/cases.py."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {
        (noise, name): [] for noise, kind in NOISES.items() for name in SETS
    }
    versions: set[str] = set()
    for one in results["rows"]:
        case = case_of(one)
        groups[case.noise, case.set].append(one)
        versions |= {f"{name} {number}" for name, number in one["versions"].items()}
    machine = results["machine"]
    lines = [
        f"{machine['processor']}, {machine['processors']} processors, Python {machine['python']}, "
        + ", ".join(sorted(versions))
        + f"; {machine['date']}. PSNR in dB / SSIM, means over the images.",
    ]
    for rows in groups.values():
        if rows:
            lines += ["", *quality_table(rows)]
    return "\n".join(lines) + "\n"


def ablation_markdown(results: dict[str, Any]) -> str:
    """A line for each variant of the network, and what it has over the one without the block."""
    rows = results["rows"]
    names = list(rows[0]["psnr"])
    for what in ("minutes", "seed"):
        one, *others = sorted({r[what] for r in rows})
        if others:
            raise ValueError(f"ablations must be of one {what}, not of {one:g} and {others[0]:g}")
    without = next((r for r in rows if r["variant"] == "no block"), None)
    if without is None:
        raise ValueError("ablations must have a row 'no block', which the others are compared with")
    head = [f"{without['minutes']:g} minutes of processor time each", "weights", "steps", *names]
    lines = [row(head), row(["---"] * len(head))]
    for r in rows:
        gains = [
            f"{r['psnr'][name]:.2f}"
            + f" ({r['psnr'][name] - without['psnr'][name]:+.2f})" * (r is not without)
            for name in names
        ]
        lines.append(row([r["variant"], f"{r['weights']:,}", f"{r['steps']:,}", *gains]))
    return "\n".join(lines) + "\n"


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "speed": markdown,
    "quality": quality_markdown,
    "ablations": ablation_markdown,
}
"""What each JSON file becomes."""


def marks(section: str) -> tuple[str, str]:
    return f"<!-- {section}:begin -->", f"<!-- {section}:end -->"


def placed(readme: str, text: str, section: str) -> str:
    """README with the text between the marks of a section."""
    begin, end = marks(section)
    if readme.count(begin) != 1 or readme.count(end) != 1:
        raise ValueError(f"README.md must hold {begin} and {end} once each")
    before, rest = readme.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}{end}{after}"


def rendered(readme: str) -> str:
    """README with the tables of all figures there are."""
    for section, text in SECTIONS.items():
        path = ROOT / "benchmarks" / "results" / f"{section}.json"
        if path.exists():
            readme = placed(readme, text(json.loads(path.read_text())), section)
    return readme


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    path = ROOT / "README.md"
    readme = path.read_text()
    text = rendered(readme)
    if arguments.check:
        return int(text != readme)
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
