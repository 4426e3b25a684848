"""Ridge weights over groups of similar patches: NL-Ridge, and LIChI, its iterated form."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from nlmeans.color import opponent
from nlmeans.denoisers.base import Preset, check_two_axes
from nlmeans.dtypes import working_dtype
from nlmeans.engines import GROUP_ENGINES, GroupEngine, get_group_engine
from nlmeans.groups import Groups
from nlmeans.progress import Progress, part
from nlmeans.rules import BELOW_ROUNDING, RidgeRule, noise_in_levels, ridge_rule
from nlmeans.validation import DTYPES, check_choice, check_integer, check_number, check_workers

PRESETS: dict[Preset, str] = {
    "balanced": "two steps",
    "best": "many rounds, about seven times as long",
}
"""How much to spend."""

REMATCH = 3
"""Rounds until groups are found anew."""

DECREASE = 0.75
"""tau of the first round: the part of the noise that a round means to leave (LIChI, Sec. 4)."""

LEAST_NOISE = 0.01
"""Noise of a group, as a part of sigma, that its weights are for at least: less is rounding."""


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """Averages over groups of similar patches with the weights of least risk.

    Parameters are those of `nlmeans.denoise`.
    """

    sigma: float | None = None
    search_radius: int | None = None
    preset: Preset = "balanced"
    engine: str = "numba"
    rule: RidgeRule | None = field(default=None, init=False)
    """Groups, as settled."""

    summary: ClassVar[str] = "groups of similar patches weighted together, by ridge regression"
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_number("sigma", self.sigma, least=0, most=1e100)
        if self.search_radius is not None:
            check_integer("search_radius", self.search_radius, least=0, most=127)
        check_choice("preset", self.preset, PRESETS)
        check_choice("engine", self.engine, GROUP_ENGINES)

    @property
    def needs_sigma(self) -> bool:
        """Sigma is not given."""
        return self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """Check that the image has two axes; search radius by rule."""
        check_two_axes("ridge", image)
        sigma: Any = self.sigma
        rule = ridge_rule(noise_in_levels(sigma, image), self.preset)
        if self.search_radius is not None:
            rule = rule.searching(self.search_radius)
        choice = replace(self, sigma=float(sigma), search_radius=rule.search_radius)
        object.__setattr__(choice, "rule", rule)  # settled once, never given
        return choice

    def halo(self, ndim: int) -> tuple[int, ...]:
        """Twice the search radius and patch of every matching, one after the other."""
        rule: Any = self.rule
        every = [rule.first] + [rule.second] * max(1, -(-rule.rounds // REMATCH))
        return (sum(2 * (g.search_radius + g.patch_size - 1) for g in every),) * ndim

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Denoise each channel of `color.opponent` with the groups of luma.

        A channel that is one value everywhere, such as an opaque alpha, is no part of that: it has
        no noise, and would be given some of the change of the others.
        """
        sigma: Any = self.sigma
        rule: Any = self.rule
        base = image.astype(working_dtype(image.dtype))
        varies = base.max((0, 1)) > base.min((0, 1))
        if sigma <= BELOW_ROUNDING * float(np.abs(base).max()) or not varies.any():
            if progress is not None:
                progress(1.0)
            return base
        noisy = np.compress(varies, base, -1)
        matrix = opponent(noisy.shape[-1]).astype(base.dtype)
        # Less the mean, which the change does not depend on: float32 keeps digits for the contrast.
        centered = noisy - noisy.mean((0, 1), dtype=np.float64).astype(base.dtype)
        planes = [
            np.ascontiguousarray(plane, np.float32)
            for plane in np.moveaxis((centered / sigma) @ matrix.T, -1, 0)
        ]
        steps = _Steps(get_group_engine(self.engine), check_workers(workers), progress)
        denoised = (
            _iterated(planes, rule, steps) if rule.rounds else _two_steps(planes, rule, steps)
        )
        change = np.stack([y - x for y, x in zip(denoised, planes, strict=True)], -1)
        base[..., varies] = noisy + sigma * (change @ matrix)
        return base


class _Steps:
    """An engine, and how far it is."""

    def __init__(self, engine: GroupEngine, workers: int, progress: Progress | None) -> None:
        self.engine, self.workers, self.progress = engine, workers, progress
        self.done, self.count = 0, 1

    def match(self, guide: np.ndarray, groups: Groups) -> np.ndarray:
        """Members of the groups of an image (y, x)."""
        return self.engine.match(guide, groups, workers=self.workers, progress=self._part())

    def mean(self, values: np.ndarray, *rest: Any, **options: Any) -> np.ndarray:
        """Change of an image by its groups."""
        return self.engine.group_mean(
            values, *rest, **options, workers=self.workers, progress=self._part()
        )

    def _part(self) -> Progress | None:
        """Progress of the next of `count` steps."""
        first, self.done = self.done, self.done + 1
        return part(self.progress, first / self.count, self.done / self.count)


def _first_estimate(planes: list[np.ndarray], rule: RidgeRule, steps: _Steps) -> list[np.ndarray]:
    """Denoise by the noisy patches alone."""
    groups = rule.first.fitting(planes[0].shape)
    members = steps.match(planes[0], groups)
    factors = [rule.added_noise, 1 + rule.added_noise, 0]
    noise = np.tile(np.multiply(groups.patch_size**2, factors), (len(members), 1))
    return [y + steps.mean(y, None, members, groups, noise)[0] for y in planes]


def _two_steps(planes: list[np.ndarray], rule: RidgeRule, steps: _Steps) -> list[np.ndarray]:
    """NL-Ridge: the patches of a first estimate give the weights for the noisy ones."""
    steps.count = 2 * (1 + len(planes))
    pilots = _first_estimate(planes, rule, steps)
    groups = rule.second.fitting(planes[0].shape)
    members = steps.match(pilots[0], groups)
    noise = np.full((len(members), 3), groups.patch_size**2)
    return [
        y + steps.mean(y, pilot, members, groups, noise)[0]
        for y, pilot in zip(planes, pilots, strict=True)
    ]


def _iterated(planes: list[np.ndarray], rule: RidgeRule, steps: _Steps) -> list[np.ndarray]:
    """LIChI: rounds that each take away a part of the noise and sharpen the estimate.

    The noise that a group has left, t, is what its patches still lack of a change by sigma.
    """
    steps.count = 1 + -(-rule.rounds // REMATCH) + len(planes) * (1 + rule.rounds)
    pilots = _first_estimate(planes, rule, steps)
    groups = rule.second.fitting(planes[0].shape)
    corners = groups.corners(planes[0].shape)
    current = list(planes)
    for number in range(rule.rounds):
        tau = DECREASE * (1 - (number + 1) / rule.rounds)
        if number % REMATCH == 0:
            members = steps.match((current if number else pilots)[0], groups)
        for c, (y, z) in enumerate(zip(planes, current, strict=True)):
            left = 1 - _spread(y - z, corners, members, groups.patch_size)
            t = np.maximum(left, max(tau + 1e-6, LEAST_NOISE))
            variance = groups.patch_size**2 * t**2
            noise = np.stack([variance, variance, 1 - tau / t], 1)
            change, partial = steps.mean(z, pilots[c], members, groups, noise, partial=True)
            pilots[c], current[c] = z + change, z + partial
    return current


def _spread(
    difference: np.ndarray, corners: np.ndarray, members: np.ndarray, patch: int
) -> np.ndarray:
    """Standard deviation of an image (y, x) over all patches of each group."""
    sums = []
    for values in (difference, difference**2):
        total = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        over_patch = (
            total[patch:, patch:] - total[:-patch, patch:] - total[patch:, :-patch]
            + total[:-patch, :-patch]
        )  # fmt: skip
        of_group = np.zeros(len(corners))
        for k in range(members.shape[1]):
            of_group += over_patch[tuple((corners + members[:, k]).T)]
        sums.append(of_group / (members.shape[1] * patch**2))
    return np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0))
