"""The learning curve as a picture."""

from pathlib import Path

from matplotlib.figure import Figure


def draw(log: list[dict[str, float]], path: Path) -> None:
    """Draw the loss and the PSNR by step into a PNG file."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot([row["step"] for row in log], [row["loss"] for row in log], linewidth=0.8)
    above.set_ylabel("loss")
    for name in sorted({name for row in log for name in row if name.startswith("psnr_")}):
        rows = [row for row in log if name in row]
        label = f"sigma {name.removeprefix('psnr_')}"
        # Less their last value, so that levels 6 dB apart fit into one picture.
        last = rows[-1][name]
        below.plot(
            [row["step"] for row in rows],
            [row[name] - last for row in rows],
            label=f"{label}: {last:.2f} dB",
        )
    if any(name.startswith("psnr_") for row in log for name in row):
        below.set_ylim(bottom=-1)
        below.legend(loc="lower right")
    below.set(xlabel="step", ylabel="PSNR of held-out photographs, less the last (dB)")
    figure.savefig(path, dpi=100)
