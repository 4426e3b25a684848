"""Hypothesis strategies that the property tests share: images and settings of every kind."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nlmeans.validation import DTYPES

GRAY_LEVELS = st.integers(0, 255)


def shapes(min_dims=2, max_dims=3, longest=6):
    """Shapes down to one pixel whose last axis is not taken for colors."""
    sides = npst.array_shapes(min_dims=min_dims, max_dims=max_dims, max_side=longest)
    return sides.filter(lambda shape: len(shape) == 2 or shape[-1] not in (3, 4))


def images(dtypes=DTYPES, shape=None):
    """Images of gray levels from 0 to 255."""
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: npst.arrays(dtype, shapes() if shape is None else shape, elements=GRAY_LEVELS)
    )


def float_images():
    """Images of float32 and float64, whose results are not rounded to steps."""
    return images(("float32", "float64"))


@st.composite
def awkward(draw, array):
    """The same numbers in another memory layout and byte order, and read-only."""
    axes = draw(st.permutations(range(array.ndim)))
    array = np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))
    if draw(st.booleans()):
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    if draw(st.booleans()):
        array = array[::-1].copy()[::-1]
    if draw(st.booleans()):
        array = array.astype(array.dtype.newbyteorder())
    array.flags.writeable = False
    return array


def settings_of_nlm(h=None):
    """Options of NL-means; the patch is 3 wide, so that few kernels have to be compiled."""
    return st.fixed_dictionaries(
        {
            "h": st.floats(60, 1000) if h is None else h,
            "sigma": st.sampled_from([0.0, 5.0, 40.0]),
            "patch_radius": st.just(1),
            "search_radius": st.integers(1, 3),
            "patch_kernel": st.sampled_from(["flat", "gaussian"]),
            "center": st.sampled_from(["one", "max", "zero"]),
        }
    )
