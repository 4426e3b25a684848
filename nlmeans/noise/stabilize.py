"""Numeric stabilizers: the tables that turn noise into noise of standard deviation 1, and back.

Everything here is in the units of the noise: Poisson counts, or Rician values over sigma.

A table pairs clean values x with the mean E[f(y) | x] of the stabilized observations. A denoiser
estimates that mean, so reading the table backwards is the exact unbiased inverse; the algebraic
inverse of f is not, as the mean of a curved function is not the function of the mean.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

NODES = 64
"""Of a Gauss-Legendre rule over +- 8 standard deviations: 32 give means to 1e-6, 64 to 1e-13."""

F_END = 12.0
"""Rician values in sigma above which the stabilizer has slope 1, which is right to 0.2 %."""


class Table(NamedTuple):
    """E[f(y) | x], rising, at clean values x from 0."""

    x: np.ndarray
    mean: np.ndarray


class RicianTables(NamedTuple):
    """The Rician stabilizer f on a grid of y, and its means."""

    y: np.ndarray
    f: np.ndarray
    means: Table


def anscombe(y: np.ndarray, s: float) -> np.ndarray:
    """Generalized Anscombe transformation of counts plus Gaussian noise s, less its value at 0.

    2 sqrt(max(0, y + c)) - 2 sqrt(c) with c = 3/8 + s^2. Without the second term, which goes
    into the root below, values near y = 0 would cancel: the limit of large s is y / s.
    """
    c = 0.375 + s * s
    y = np.maximum(y, -c)
    return 2 * y / (np.sqrt(y + c) + np.sqrt(c))


def anscombe_tail(d: np.ndarray, s: float) -> np.ndarray:
    """Inverse of the mean of `anscombe` for large counts: (D / 2)^2 - 1/8 - s^2.

    Written for d = D - 2 sqrt(c). The algebraic inverse has 3/8 in the place of 1/8; the next
    term is of the order of 1 / x^2.
    """
    return d * d / 4 + d * np.sqrt(0.375 + s * s) + 0.25


@lru_cache(maxsize=32)
def anscombe_table(s: float) -> Table:
    """Clean counts from 0 to 100, and the means of `anscombe` there.

    Summed over the Poisson counts and, if s > 0, integrated over the Gaussian part. At 100 the
    tail is off by 3.2e-4 counts at most, for s = 10.
    """
    from scipy import special

    # Even steps of sqrt(x) keep linear interpolation within 2e-5 of x near 0, where the
    # first steps are small, and within 3e-5 counts at 100.
    x = np.linspace(0, 10, 1001) ** 2
    k = np.arange(190.0)  # 9 standard deviations above 100
    means = anscombe(k, 0.0)
    if s > 0:
        # f has a root at n = -(k + c) / s. From there, or from -8, n = low + v^2 makes
        # the integrand smooth.
        low = np.maximum(-(k + 0.375 + s * s) / s, -8.0)[:, np.newaxis]
        nodes, weights = special.roots_legendre(NODES)
        half = np.sqrt(8.0 - low) / 2
        v = half * (nodes + 1)
        n = low + v * v
        density = np.exp(-n * n / 2) / np.sqrt(2 * np.pi) * 2 * v
        means = (anscombe(k[:, np.newaxis] + s * n, s) * density * weights * half).sum(1)
        # Further below f stays at its least value.
        means -= 2 * np.sqrt(0.375 + s * s) * special.ndtr(low[:, 0])
    grid = x[:, np.newaxis]
    poisson = np.exp(special.xlogy(k, grid) - grid - special.gammaln(k + 1))
    return Table(x, poisson @ means)


def anscombe_inverse(d: np.ndarray, s: float) -> np.ndarray:
    """Exact unbiased inverse of `anscombe`: 0 up to the mean at x = 0, the tail above the table."""
    table = anscombe_table(s)
    x = np.interp(d, table.mean, table.x)
    above = d > table.mean[-1]
    x[above] = anscombe_tail(d[above], s)
    return x


@lru_cache(maxsize=1)
def rician_tables() -> RicianTables:
    """Stabilizer of Rician noise of sigma 1, and its means for x from 0 to 18.

    f' = 1 / std(y | x) at the y that is the mean at x, which holds the standard deviation of
    f(y) to 0.886 to 1.063 only. So f' is divided by that, four times: 0.978 to 1.051. Sixteen
    times gain 0.994 to 1.03, but make f' swing from 2.2 to 0.7 to 1.1 within two sigma.
    """
    from scipy import special

    x = np.linspace(0, 18, 451)  # lines between are right to 2e-4 of x
    grid = x[:, np.newaxis]
    nodes, weights = special.roots_legendre(2 * NODES)
    low = np.maximum(grid - 8, 0)
    half = (grid + 8 - low) / 2
    at = low + half * (nodes + 1)
    density = at * np.exp(-((at - grid) ** 2) / 2) * special.ive(0, at * grid) * weights * half

    mu, std = rician_moments(x)
    y = np.linspace(0, F_END, 601)
    slope = 1 / np.interp(y, mu, std)
    for again in (True, True, True, True, False):
        f = np.append(0.0, np.cumsum((slope[1:] + slope[:-1]) * y[1] / 2))
        values = rician_interpolated(at, y, f)
        mean = (density * values).sum(1)
        if again:
            slope /= np.interp(y, mu, np.sqrt((density * values**2).sum(1) - mean**2))
    return RicianTables(y, f, Table(x, mean))


def rician_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of Rician values of sigma 1, for x up to some hundreds.

    sqrt(pi / 2) L_1/2(-x^2 / 2), L a Laguerre polynomial, and E[y^2] = x^2 + 2.
    """
    from scipy import special

    q = x * x / 4
    mean = np.sqrt(np.pi / 2) * ((1 + 2 * q) * special.ive(0, q) + 2 * q * special.ive(1, q))
    return mean, np.sqrt(x * x + 2 - mean * mean)


def rician_interpolated(values: np.ndarray, y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Interpolate f, and go on with slope 1 above its grid."""
    return np.interp(values, y, f) + np.maximum(values - y[-1], 0)


def rician_stabilized(y: np.ndarray) -> np.ndarray:
    """Stabilizer of Rician noise of sigma 1, with the value 0 at 0."""
    tables = rician_tables()
    return rician_interpolated(y, tables.y, tables.f)


def rician_inverse(d: np.ndarray) -> np.ndarray:
    """Exact unbiased inverse of `rician_stabilized`: 0 up to the mean at x = 0.

    Above the table f(y) is y and a constant, and the mean of y nearly sqrt(x^2 + 1).
    """
    x, mean = rician_tables().means
    # The mean goes with x^2 near 0, so that x^2 is what can be interpolated.
    square = np.interp(d, mean, x * x)
    above = d > mean[-1]
    square[above] = (d[above] - mean[-1] + np.sqrt(x[-1] ** 2 + 1)) ** 2 - 1
    return np.sqrt(square)


def rician_std(x: np.ndarray) -> np.ndarray:
    """Standard deviation of Rician values of sigma 1; above 100 it is 1 - 1 / (4 x^2) to 1e-8."""
    far = np.maximum(x, 100.0)
    return np.where(x < far, rician_moments(np.minimum(x, far))[1], 1 - 1 / (4 * far * far))
