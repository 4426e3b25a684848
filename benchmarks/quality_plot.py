"""Draw PSNR against speed, from the figures that benchmarks/quality.py wrote.

    python benchmarks/quality_plot.py [QUALITY.json] [--output quality.png]

White Gaussian noise of sigma 25, on gray and on color images. The line is the Pareto front: the
best PSNR of whatever is at least as fast. Contenders that are not told sigma are left out; they
lie near the others of their method. scikit-image has one thread. Needs matplotlib,
`pip install --group bench`.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
PANELS = {"Set12": "Set12, gray", "CBSD68": "CBSD68, color"}
SIGMA = 25
OURS, OTHERS, FRONT = "#0b5fa5", "#c4571a", "#8a8f98"
# Offsets of a label from its point, in points, with its alignment: where it may stand, in order.
AT_RIGHT = ((8, 5, "left", "bottom"), (8, 0, "left", "center"), (8, -5, "left", "top"))
AT_LEFT = ((-8, -5, "right", "top"), (-8, 0, "right", "center"), (-8, 5, "right", "bottom"))
AMID = ((0, 9, "center", "bottom"), (0, -9, "center", "top"))


class Point(NamedTuple):
    """A contender: megapixels a second, PSNR in dB."""

    name: str
    speed: float
    psnr: float
    ours: bool


def points(rows: list[dict[str, Any]], name: str) -> list[Point]:
    """Contenders on a set whose speed was measured, the slowest first."""
    found = [
        Point(
            row["contender"] + " (8-bit)" * row["eight_bit"],
            row["mp_per_s"],
            row["psnr"],
            row["contender"].startswith(("nlm ", "ridge ", "learned")),
        )
        for row in rows
        if (row["set"], row["noise"], row["sigma"]) == (name, "awgn", SIGMA)
        and row["mp_per_s"]
        and not row["blind"]
    ]
    return sorted(found, key=lambda point: (point.speed, point.psnr))


def front(found: list[Point]) -> list[Point]:
    """The points that no other beats or equals in both speed and PSNR, the slowest first."""
    best: list[Point] = []
    for point in sorted(found, key=lambda p: (-p.speed, -p.psnr)):
        if not best or point.psnr > best[-1].psnr:
            best.append(point)
    return best[::-1]


def label(figure: Any, axis: Any, found: list[Point], best: list[Point]) -> None:
    """Write each name where it covers no point, no other name and not the front."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    renderer, inside = figure.canvas.get_renderer(), axis.get_window_extent()
    at = {p: axis.transData.transform((p.speed, p.psnr)) for p in found}
    taken = [Bbox.from_bounds(x - 8, y - 8, 16, 16) for x, y in at.values()]
    for slow, fast in pairwise(best):
        (x0, y0), (x1, y1) = at[slow], at[fast]
        taken += [Bbox([[x0 - 1, y1], [x0 + 1, y0]]), Bbox([[x0, y1 - 1], [x1, y1 + 1]])]
    for point in found:
        places = (
            AT_RIGHT + AMID + AT_LEFT if point in best else AT_LEFT + AMID[::-1] + AT_RIGHT[::-1]
        )
        for number, (dx, dy, side, edge) in enumerate(places):
            text = axis.annotate(
                point.name, (point.speed, point.psnr), (dx, dy), textcoords="offset points",
                ha=side, va=edge, fontsize=9, color=OURS if point.ours else OTHERS,
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            within = inside.x0 < box.x0 and box.x1 < inside.x1
            free = within and not any(box.overlaps(other) for other in taken)
            if free or number == len(places) - 1:
                taken.append(box)
                break
            text.remove()


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each set that has rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    panels = {name: points(rows, name) for name in PANELS}
    panels = {name: found for name, found in panels.items() if found}
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(6 * len(panels), 5), squeeze=False, layout="constrained"
    )
    for axis, (name, found) in zip(axes[0], panels.items(), strict=True):
        best = front(found)
        low, high = min(p.psnr for p in found), max(p.psnr for p in found)
        margin = 0.08 * (high - low) + 0.1
        axis.set(
            xscale="log", xlabel="megapixels a second, 2 threads",
            title=f"{PANELS[name]}, sigma {SIGMA}",
            xlim=(found[0].speed / 3, found[-1].speed * 4), ylim=(low - margin, high + margin),
        )  # fmt: skip
        # From the edges on: slower than the slowest is no better, faster than the fastest is none.
        x = [axis.get_xlim()[0], *(p.speed for p in best), best[-1].speed]
        y = [best[0].psnr, *(p.psnr for p in best), axis.get_ylim()[0]]
        axis.plot(x, y, color=FRONT, linewidth=1.2, drawstyle="steps-pre", zorder=1)
        for ours, color, marker in ((True, OURS, "o"), (False, OTHERS, "s")):
            some = [p for p in found if p.ours == ours]
            axis.scatter(
                [p.speed for p in some], [p.psnr for p in some], c=color, marker=marker, s=36,
                zorder=2, label="nlmeans" if ours else "other tools",
            )  # fmt: skip
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("mean PSNR, dB")
    axes[0][0].plot([], [], color=FRONT, label="Pareto front")
    axes[0][0].legend(loc="lower left", fontsize=9, frameon=False)
    for axis, found in zip(axes[0], panels.values(), strict=True):
        label(figure, axis, found, front(found))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main() -> None:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS / "quality.json")
    parser.add_argument("--output", type=Path, default=RESULTS / "quality.png")
    arguments = parser.parse_args()
    plot(json.loads(arguments.json.read_text())["rows"], arguments.output)


if __name__ == "__main__":
    main()
