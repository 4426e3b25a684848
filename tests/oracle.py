"""The papers once more, in plain loops over single numbers: what every engine has to match.

Nothing of the package is imported here. A formula or a border rule that the package has wrong
in one shared place would be wrong in all its engines alike; only a second statement shows that.

Images are arrays (*space, C). Radii are one integer for each axis of space.
"""

import math

import numpy as np

SMALLEST = 2.0**-90
"""Center rules other than "one" count a smaller weight as none."""


def reflected(position, size):
    """Where a position beyond the border is copied from: d c b | a b c d | c b a."""
    if size == 1:
        return 0
    while not 0 <= position < size:
        position = -position if position < 0 else 2 * (size - 1) - position
    return position


def at(image, position):
    """The channels at a position, which may lie beyond the border."""
    space = image.shape[:-1]
    inside = tuple(reflected(p, size) for p, size in zip(position, space, strict=True))
    return [float(value) for value in image[inside]]


def displacements(radius):
    """All offsets within a radius along each axis, the last axis running fastest."""
    for corner in np.ndindex(*(2 * r + 1 for r in radius)):
        yield tuple(k - r for k, r in zip(corner, radius, strict=True))


def moved(position, offset):
    return tuple(p + o for p, o in zip(position, offset, strict=True))


def patch_weights(radius, kernel):
    """Weight of each offset of a patch; they sum to 1."""
    weights = {}
    for offset in displacements(radius):
        exponent = 0.0
        for o, r in zip(offset, radius, strict=True):
            if kernel == "gaussian" and r > 0:
                exponent += o**2 / (2 * (r / 2) ** 2)
        weights[offset] = math.exp(-exponent)
    total = math.fsum(weights.values())
    return {offset: weight / total for offset, weight in weights.items()}


def patch_distance(image, i, j, weights):
    """D: weighted mean over the patch, plain mean over the channels, of squared differences."""
    total = 0.0
    for offset, weight in weights.items():
        for a, b in zip(at(image, moved(i, offset)), at(image, moved(j, offset)), strict=True):
            total += weight * (a - b) ** 2
    return total / image.shape[-1]


def inside(position, space):
    """Whether a position lies within the border."""
    return all(0 <= p < size for p, size in zip(position, space, strict=True))


def nl_means(
    image,
    *,
    h,
    patch_radius,
    search_radius,
    sigma=0.0,
    patch_kernel="flat",
    center="one",
    cutoff=0.0,
    border="reflect",
    patchwise=False,
    guide=None,
):
    """NL-means: f = exp(-max(D - 2 sigma^2, 0) / h^2) over a window (CVPR 2005, IPOL 2011)."""
    kernel = patch_weights(patch_radius, patch_kernel)
    space = image.shape[:-1]
    compared = image if guide is None else guide

    def pairs(i):
        """(f, j) for all members j."""
        found = []
        for offset in displacements(search_radius):
            j = moved(i, offset)
            if border == "exclude" and not inside(j, space):
                continue
            excess = max(patch_distance(compared, i, j, kernel) - 2 * sigma**2, 0.0)
            f = math.exp(-excess / h**2)
            found.append((offset, f if f >= cutoff else 0.0, j))
        return recentered(found, center)

    members = {i: pairs(i) for i in np.ndindex(*space)}
    result = np.zeros(image.shape)
    for p in np.ndindex(*space):
        estimates = []
        for offset in kernel if patchwise else [(0,) * len(p)]:
            i = moved(p, [-o for o in offset])
            if inside(i, space):
                values = [(f, at(image, moved(j, offset))) for f, j in members[i]]
                estimates.append((1.0, average(values)))
        result[p] = average(estimates)
    return result


def recentered(pairs, rule):
    """(f, value) of (offset, f, value), with f of the offset 0 replaced by the center rule."""
    others = [f for offset, f, _ in pairs if any(offset)]
    if math.fsum(others) < SMALLEST:
        return [(0.0 if any(offset) else 1.0, value) for offset, _, value in pairs]
    own = {"one": 1.0, "max": max(others), "zero": 0.0}[rule]
    return [(f if any(offset) else own, value) for offset, f, value in pairs]


def average(pairs, count=None):
    """Sum of f * value over the sum of f, or over a count."""
    divisor = math.fsum(f for f, _ in pairs) if count is None else count
    channels = len(pairs[0][1])
    return [math.fsum(f * value[c] for f, value in pairs) / divisor for c in range(channels)]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def linear(matrix, vector):
    return [dot(row, vector) for row in matrix]


def gaussian(xi, xj):
    """Wang et al., Eq. (2)."""
    return math.exp(dot(xi, xj))


def embedded_gaussian(theta, phi):
    """Wang et al., Eq. (3)."""
    return lambda xi, xj: math.exp(dot(linear(theta, xi), linear(phi, xj)))


def dot_product(theta, phi):
    """Wang et al., Eq. (4)."""
    return lambda xi, xj: dot(linear(theta, xi), linear(phi, xj))


def concatenation(theta, phi, weight):
    """Wang et al., Eq. (5)."""
    return lambda xi, xj: max(dot(weight, linear(theta, xi) + linear(phi, xj)), 0.0)


def non_local_mean(
    image, f, *, search_radius=None, g=None, divide_by_count=False, border="reflect"
):
    """Wang et al., Eq. (1), over a window or, without a search radius, over the whole image.

    `f` takes x_i and x_j as lists of channels; `g` is a matrix, by default the identity.
    """
    space = image.shape[:-1]
    rows = []
    for i in np.ndindex(*space):
        if search_radius is None:
            members = list(np.ndindex(*space))
        else:
            members = [moved(i, offset) for offset in displacements(search_radius)]
            if border == "exclude":
                members = [j for j in members if inside(j, space)]
        pairs = []
        for j in members:
            xj = at(image, j)
            pairs.append((f(at(image, i), xj), xj if g is None else linear(g, xj)))
        rows.append(average(pairs, len(members) if divide_by_count else None))
    return np.array(rows).reshape(*space, -1)


def window_values(image, i, radius):
    """The channels of every position of the box around i, those beyond the border included."""
    return [at(image, moved(i, offset)) for offset in displacements(radius)]


def box_filter(image, radius, pick):
    """`pick` (a function of a list of numbers) of the box around each position, by channel."""
    result = np.zeros(image.shape)
    for i in np.ndindex(*image.shape[:-1]):
        for c, values in enumerate(zip(*window_values(image, i, radius), strict=True)):
            result[(*i, c)] = pick(list(values))
    return result


def mean(values):
    return math.fsum(values) / len(values)


def median(values):
    """Middle of an odd number of values."""
    return sorted(values)[len(values) // 2]


def gaussian_filter(image, std):
    """Mean weighted by exp(-|t|^2 / (2 std^2)), cut off at 4 std along each axis."""
    radius = (math.floor(4 * std + 0.5),) * (image.ndim - 1)
    weights = {
        t: math.exp(-dot(t, t) / (2 * std**2)) if any(t) else 1.0 for t in displacements(radius)
    }
    result = np.zeros(image.shape)
    for i in np.ndindex(*image.shape[:-1]):
        result[i] = average([(f, at(image, moved(i, t))) for t, f in weights.items()])
    return result


def mse(reference, image):
    """Mean of the squared differences of two arrays."""
    differences = [
        float(a) - float(b) for a, b in zip(reference.ravel(), image.ravel(), strict=True)
    ]
    return math.fsum(d * d for d in differences) / len(differences)


def psnr(reference, image, peak):
    """10 log10(peak^2 / MSE)."""
    return 10 * math.log10(peak**2 / mse(reference, image))


def solved(matrix, vector):
    """Solution of a linear system, by elimination with pivots."""
    rows = [[float(v) for v in row] + [float(b)] for row, b in zip(matrix, vector, strict=True)]
    size = len(rows)
    for k in range(size):
        pivot = max(range(k, size), key=lambda r: abs(rows[r][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        for r in range(size):
            if r != k:
                factor = rows[r][k] / rows[k][k]
                rows[r] = [v - factor * p for v, p in zip(rows[r], rows[k], strict=True)]
    return [rows[k][size] / rows[k][k] for k in range(size)]


def ridge_weights(features, a, b):
    """theta = I - b u, each row of u the solution of (X X' + a I) u + mu = e with a sum of 0."""
    k = len(features)
    system = [[dot(p, q) + (a if p is q else 0.0) for q in features] + [1.0] for p in features]
    system.append([1.0] * k + [0.0])
    theta = []
    for i in range(k):
        unit = [float(i == j) for j in range(k)]
        u = solved(system, [*unit, 0.0])[:k]
        theta.append([e - b * v for e, v in zip(unit, u, strict=True)])
    return theta


def patch_values(image, corner, size):
    y, x = corner
    return [float(image[y + dy, x + dx]) for dy in range(size) for dx in range(size)]


def group_members(image, corner, size, count, radius):
    """First pixels of the patches nearest to one, itself first, in the order of rows."""
    height, width = image.shape
    own = patch_values(image, corner, size)
    distances = []
    for y in range(max(0, corner[0] - radius), min(height - size, corner[0] + radius) + 1):
        for x in range(max(0, corner[1] - radius), min(width - size, corner[1] + radius) + 1):
            other = patch_values(image, (y, x), size)
            squares = sum((p - q) ** 2 for p, q in zip(own, other, strict=True))
            distances.append((-1.0 if (y, x) == tuple(corner) else squares, y, x))
    return sorted((y, x) for _, y, x in sorted(distances)[:count])


def grouped(values, features, guide, size, count, radius, step, a, b):
    """The image after one round of ridge weights over groups."""
    height, width = values.shape
    total, weight = np.zeros((height, width)), np.zeros((height, width))
    for top in sorted({*range(0, height - size, step), height - size}):
        for left in sorted({*range(0, width - size, step), width - size}):
            members = group_members(guide, (top, left), size, count, radius)
            theta = ridge_weights([patch_values(features, m, size) for m in members], a, b)
            patches = [patch_values(values, m, size) for m in members]
            for (y, x), row in zip(members, theta, strict=True):
                share = 1 / min(max(dot(row, row), 1 / len(members)), 1)
                for p in range(size * size):
                    estimate = dot(row, [patch[p] for patch in patches])
                    total[y + p // size, x + p % size] += share * estimate
                    weight[y + p // size, x + p % size] += share
    return total / weight
