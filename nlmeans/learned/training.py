"""A training: its state, one step of it, and how it is kept in a file."""

import contextlib
import copy
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from nlmeans.errors import NLMeansError, ParameterError
from nlmeans.learned.data import Batch, Crops
from nlmeans.learned.network import NonLocalNet, Shape, in_color, with_more_passes
from nlmeans.learned.nl_means import LearnedNLMeans, NLMeansShape
from nlmeans.learned.optimizer import Muon
from nlmeans.learned.schedule import Schedule

AVERAGE = 0.999
"""Part of the moving average that a step keeps: it forgets in some thousand steps."""

LARGEST_GRADIENT = 5.0
"""Norm that a gradient is cut down to: with loss "log" the median is 1 in gray and 2.5 in color, of
which one in fifty is above 5; with "absolute" it is below 0.2. Without it, the mean loss of 100
steps in color once rose by 0.7, 3 dB, over that of those before."""

MOST_SKIPPED = 10
"""Steps one after the other whose gradient may be infinite, and is not taken. Three passes with the
same weights can multiply one beyond float32's range: with crops of three times the contrast, it was
so within 600 steps."""


@dataclass(frozen=True)
class Recipe:
    """How to train; kept with the state.

    Parameters
    ----------
    seed : int
        Of the first weights and of everything a step draws.
    crop, batch : int
        Side and number of the crops of a step.
    loss : {"absolute", "log"}
        What is to become small, see `LOSSES`.
    rate, other_rate : float
        Learning rate of `Muon`, for the matrices inside, and of Adam for all other weights; where
        there is nothing for Muon, `rate` is Adam's.
    """

    seed: int = 0
    crop: int = 64
    batch: int = 16
    loss: str = "absolute"
    rate: float = 4e-3
    other_rate: float = 1e-3


def absolute(error: Tensor, sigma: Tensor) -> Tensor:
    """Mean absolute error over the root of sigma, which makes all levels of noise count alike.

    What is left of the noise grows about as sigma^0.6: of 15, 25, 50 levels 6, 8, 11.
    """
    return (error.abs().mean((1, 2, 3)) / (sigma.flatten() + 1e-4).sqrt()).mean()


def log(error: Tensor, sigma: Tensor) -> Tensor:
    """Mean log of the mean squared error in units of sigma, which is what PSNR averages.

    The constant, 1/200, is a twentieth of what is left of the noise at sigma 15 and an eighth at
    75. A short training in color with 1/10 ended 0.01 dB lower at 25, and 0.03 at 50, than with
    1/50; with 1/250, 0.006 higher at 50.
    """
    part = (error / (sigma + 1e-4)).square().mean((1, 2, 3))
    return (part + 0.005).log().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"absolute": absolute, "log": log}


AnyShape = Shape | NLMeansShape

SHAPES: dict[str, type[AnyShape]] = {"network": Shape, "nl_means": NLMeansShape}
"""What can be trained, by its name in checkpoints."""


def build(shape: AnyShape) -> NonLocalNet | LearnedNLMeans:
    """What has this shape, with weights to begin with."""
    return NonLocalNet(shape) if isinstance(shape, Shape) else LearnedNLMeans(shape)


def shape_of(state: dict[str, Any]) -> AnyShape:
    """Shape of what a checkpoint has; the first ones did not say what it is."""
    return SHAPES[state.get("net_name", "network")](**state["shape"])


class Training:
    """A network on its way.

    Parameters
    ----------
    shape : Shape or NLMeansShape
        The network.
    recipe : Recipe
        How to train it.
    threads : int, optional
        Parts that a batch is cut into, each computed by one thread, on the CPU. Two threads that
        shared every layer instead waited for each other for a sixth of the time.
    device : str, optional
        Where; other than "cpu" in one part.
    bfloat16 : bool, optional
        Compute convolutions in bfloat16, where weights, losses and sums of steps stay float32.

    Attributes
    ----------
    net, average : NonLocalNet or LearnedNLMeans
        As it is, and the moving average of its weights, which is what is used in the end.
    step, before : int
        Steps done, and those of the trainings whose weights it began with.
    skipped : int
        Steps since the last whose gradient was finite.
    log : list of dict
        What was measured, a row for every time.
    recent : list of float
        Losses since.
    """

    def __init__(
        self,
        shape: AnyShape,
        recipe: Recipe,
        *,
        threads: int = 1,
        device: str = "cpu",
        bfloat16: bool = False,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.schedule, self.step, self.before = recipe, Schedule(), 0, 0
        self.skipped = 0
        self.log: list[dict[str, float]] = []
        self.recent: list[float] = []
        self.device, self.bfloat16 = device, bfloat16
        self.net = build(shape).to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizers = _optimizers(self.net, recipe)
        self.parts = threads if device == "cpu" else 1
        if recipe.batch % self.parts:
            rule = f"must be a multiple of threads ({self.parts})"
            raise ParameterError("batch", rule, recipe.batch)
        one_thread = (lambda: torch.set_num_threads(1)) if device == "cpu" else None
        self._pool = ThreadPoolExecutor(self.parts, initializer=one_thread)

    def advance(self, crops: Crops) -> None:
        """Take one step."""
        recipe = self.recipe
        batch = crops.batch(self.step, recipe.crop, recipe.batch)
        results = list(self._pool.map(self._gradients, self._split(batch)))
        loss = float(np.mean([value for value, _ in results]))
        if not np.isfinite(loss):
            raise NLMeansError(f"the loss of step {self.step} is {loss}")
        gradients = [
            torch.stack(parts).mean(0) for parts in zip(*(g for _, g in results), strict=True)
        ]
        for weight, gradient in zip(self.net.parameters(), gradients, strict=True):
            weight.grad = gradient
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), LARGEST_GRADIENT))
        self.skipped = 0 if np.isfinite(norm) else self.skipped + 1
        if self.skipped > MOST_SKIPPED:
            raise NLMeansError(f"the gradient of step {self.step} is {norm}, once more")
        factor = self.schedule.factor(self.step)
        rates = (recipe.rate, recipe.other_rate)
        for optimizer, rate in zip(self.optimizers, rates, strict=False):
            optimizer.param_groups[0]["lr"] = rate * factor
            if not self.skipped:
                optimizer.step()
        # While there are few steps to average, fewer count.
        kept = min(AVERAGE, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - kept)
        self.step += 1
        self.recent.append(loss)

    def validate(self, images: list[np.ndarray], sigmas: tuple[float, ...]) -> list[float]:
        """Mean PSNR in dB of the averaged network for each sigma, in gray levels, over images."""

        def one(job: tuple[float, int]) -> float:
            sigma, number = job
            clean = torch.from_numpy(images[number][None].astype(np.float32) / 255)
            noise = np.random.default_rng(number).standard_normal(clean.shape, np.float32)
            level = torch.full_like(clean[:, :1], sigma / 255)
            noisy = (clean + sigma / 255 * torch.from_numpy(noise)).to(
                self.device, memory_format=torch.channels_last
            )
            with torch.no_grad():
                denoised = self.average(noisy, level.to(self.device)).cpu().clamp(0, 1)
            return -10 * float((denoised - clean).square().mean().log10())

        jobs = [(sigma, number) for sigma in sigmas for number in range(len(images))]
        psnr = np.reshape(list(self._pool.map(one, jobs)), (len(sigmas), -1))
        return [float(mean) for mean in psnr.mean(1)]

    def decay(self, steps: int) -> None:
        """Let the learning rate go to 0 over so many steps, from now on."""
        self.schedule = replace(self.schedule, decay_from=self.step, decay_steps=steps)

    def save(self, path: Path) -> None:
        """Write everything that a training goes on from; the file is the old or the new."""
        names = {shape: name for name, shape in SHAPES.items()}
        state = {
            "net_name": names[type(self.net.shape)],
            "shape": asdict(self.net.shape),
            "recipe": asdict(self.recipe),
            "schedule": asdict(self.schedule),
            "step": self.step,
            "before": self.before,
            "log": self.log,
            "recent": self.recent,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `read_checkpoint` gave; the recipe is the one this was made with."""
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step, self.log, self.recent = state["step"], state["log"], state["recent"]
        self.schedule, self.before = Schedule(**state["schedule"]), state.get("before", 0)

    def adopt(self, state: dict[str, Any]) -> None:
        """Begin with the averaged weights of another network, as far as their shapes fit.

        Those of a gray network are made `in_color` for RGB, and those of a network of two passes or
        more are made ones `with_more_passes`.
        """
        given, old, new = state["average"], shape_of(state), self.net.shape
        if isinstance(old, Shape) and isinstance(new, Shape):
            if (old.channels, new.channels) == (1, 3):
                given = in_color(given)
            if 1 < old.passes < new.passes:
                given = with_more_passes(given, new.passes)
        for net in (self.net, self.average):
            own = net.state_dict()
            fitting = {k: w for k, w in given.items() if k in own and own[k].shape == w.shape}
            net.load_state_dict(own | fitting)
        self.before = state["step"] + state.get("before", 0)

    def _gradients(self, batch: Batch) -> tuple[float, list[Tensor]]:
        """Loss of a part of a batch, and its gradients."""
        clean, noise, sigma = (
            torch.from_numpy(array).to(self.device)
            for array in (batch.clean, batch.noise, batch.sigma)
        )
        noisy = (clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        level = sigma.expand(-1, 1, *noisy.shape[2:])
        with self._precision():
            error = self.net(noisy, level) - clean
        loss = LOSSES[self.recipe.loss](error, sigma)
        return loss.item(), list(torch.autograd.grad(loss, list(self.net.parameters())))

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bfloat16):
            yield

    def _split(self, batch: Batch) -> list[Batch]:
        cuts = [np.array_split(array, self.parts) for array in asdict(batch).values()]
        return [Batch(*arrays) for arrays in zip(*cuts, strict=True)]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """State that `Training.save` wrote; no code in the file is run."""
    return torch.load(path, map_location="cpu", weights_only=True)


def read_trunk(path: Path) -> dict[str, Any]:
    """Shape and averaged weights of a checkpoint, or of a `.safetensors` file exported from one."""
    if path.suffix != ".safetensors":
        return read_checkpoint(path)
    with safe_open(path, "pt") as file:
        about = file.metadata()
        shape = json.loads(about["shape"])
        average = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    name = "network" if "passes" in shape else "nl_means"
    counts = {count: int(about.get(count, 0)) for count in ("step", "before")}
    return {"net_name": name, "shape": shape, "average": average, **counts}


def _optimizers(net: NonLocalNet | LearnedNLMeans, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between the first layer and the last, Adam for the rest."""
    inside = [
        module.weight
        for part in net.inside()
        for module in part.modules()
        # A matrix of one row has no directions to be balanced.
        if isinstance(module, nn.Conv2d | nn.Linear) and len(module.weight) > 1
    ]
    known = {id(weight) for weight in inside}
    rest = [weight for weight in net.parameters() if id(weight) not in known]
    adam = torch.optim.Adam(rest, recipe.other_rate, betas=(0.9, 0.99))
    return [Muon(inside, recipe.rate), adam] if inside else [adam]
