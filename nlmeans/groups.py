"""Groups of similar patches, and the weights that ridge regression gives their members.

The non-local average once more, with patches for values and the k patches most similar to x_i for
N(i); but the weights are not a function of two positions. All of a group are found together, as
those of least risk:

    Y^ = theta Y        rows of Y are the k noisy patches, rows of theta sum to 1

A pixel is then the weighted mean of what all patches that cover it have for it.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Groups:
    """Which patches of an image (y, x) form groups.

    Parameters
    ----------
    patch_size : int
        Side p of a patch; at most that of the image.
    members : int
        Number k of patches of a group: the reference patch and those nearest to it, by the
        Euclidean distance, of the patches that lie in the image; the first in the order of the
        rows where several are as near as the last. At most as many as every window has.
    search_radius : int
        Largest displacement of a member along an axis; at most 127.
    step : int
        Distance of reference patches along an axis, at most their side. The last ones touch the
        border.
    """

    patch_size: int
    members: int
    search_radius: int
    step: int

    def fitting(self, space: tuple[int, ...]) -> "Groups":
        """The same, with a patch, a step and a number of members that suit an image's shape."""
        patch = min(self.patch_size, *space)
        # The window of a corner has fewest.
        along = [min(self.search_radius, size - patch) + 1 for size in space]
        members = min(self.members, along[0] * along[1])
        return Groups(patch, members, self.search_radius, min(self.step, patch))

    def corners(self, space: tuple[int, ...]) -> np.ndarray:
        """First pixels (y, x) of the reference patches, (references, 2), in the order of rows."""
        starts = []
        for size in space:
            last = size - self.patch_size
            starts.append([*range(0, last, self.step), last])
        return np.array(list(product(*starts)), np.int64)


def ridge_weights(features: np.ndarray, a: float, b: float) -> np.ndarray:
    r"""Weights theta of the members of a group.

    Of all theta whose rows sum to 1, the one of least ``|theta X - X|^2 + n s^2 |theta|^2``, the
    risk of Y^ for noise of variance s^2, is::

        theta = I - n s^2 (Q^-1 - Q^-1 1 1' Q^-1 / (1' Q^-1 1)),     Q = X X' + n s^2 I

    With patches of a first estimate for X that is what a = b = n s^2 gives. For noisy patches,
    whose Y Y' has n s^2 I in it already, a = alpha n s^2 and b = (1 + alpha) n s^2 give the theta
    of least estimated risk where noise of variance alpha s^2 is added.

    The dual form, theta = X (X' X + n s^2 I)^-1 X', needs the inverse of an n x n matrix only, but
    three products more: for k = 90 patches of n = 64 pixels, the largest k over n in use
    (`nlmeans.rules`), about 1.5 times as many multiplications, so that it is not taken.

    Parameters
    ----------
    features : ndarray, shape (k, n)
        X or Y, a row for each member.
    a, b : float
        See above; positive.

    Returns
    -------
    ndarray, shape (k, k)
        theta.

    References
    ----------
    S. Herbreteau, C. Kervrann, "Towards a unified view of unsupervised non-local methods for image
    denoising: the NL-Ridge approach", ICIP 2022, and "Unsupervised linear and iterative
    combinations of patches for image denoising", arXiv:2212.00422.
    """
    k = len(features)
    inverse = np.linalg.inv(features @ features.T + a * np.eye(k))
    along_ones = inverse.sum(1, keepdims=True)
    return np.eye(k) - b * (inverse - along_ones @ along_ones.T / along_ones.sum())
