"""The way of an image through the library, from what came in to what goes out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, overload

import numpy as np

from nlmeans.affinity import Center, PatchKernel
from nlmeans.denoisers import METHODS, Denoiser
from nlmeans.denoisers.base import Preset
from nlmeans.dtypes import from_float
from nlmeans.errors import ParameterError
from nlmeans.noise import estimate_sigma
from nlmeans.validation import check_array, check_channel_axis, check_choice, check_workers


@dataclass(frozen=True)
class DenoiseInfo:
    """What `denoise` did.

    Parameters
    ----------
    method : str
        Name of the method.
    settings : dict of str to object
        Every option of the method with the value it had, chosen or given; h and sigma in the
        units of the image.
    estimated_sigma : float or None
        The noise level, where it was estimated, else None.
    """

    method: str
    settings: dict[str, Any]
    estimated_sigma: float | None


def build(method: str, options: dict[str, Any]) -> Denoiser:
    """A method with the options that are given, those that are not None, checked for themselves."""
    chosen = METHODS[check_choice("method", method, METHODS)]
    known = [field.name for field in fields(chosen) if field.init]  # type: ignore[arg-type]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            raise ParameterError(
                name, f"is not an option of method {method!r}, which takes {', '.join(known)}"
            )
    return chosen(**given)


def settle(
    image: np.ndarray, method: str, options: dict[str, Any]
) -> tuple[Denoiser, float | None]:
    """The denoiser for an image (*space, C), with nothing left open, and sigma if estimated."""
    denoiser = build(method, options)
    if image.dtype.newbyteorder("=").name not in denoiser.dtypes:
        raise ParameterError(
            "image",
            f"must have a dtype of {', '.join(denoiser.dtypes)} for method {method!r}",
            image.dtype.name,
        )
    estimate = None
    if denoiser.needs_sigma:
        estimate = estimate_sigma(image, channel_axis=-1)
        denoiser = replace(denoiser, sigma=estimate)  # type: ignore[type-var]
    return denoiser.settled(image), estimate


@overload
def denoise(
    image: Any,
    *,
    h: float | None = None,
    sigma: float | None = None,
    method: str = "nlm",
    channel_axis: int | None = None,
    patch_radius: int | tuple[int, ...] | None = None,
    search_radius: int | tuple[int, ...] | None = None,
    patch_kernel: PatchKernel | None = None,
    center: Center | None = None,
    preset: Preset | None = None,
    h_color: float | None = None,
    radius: int | None = None,
    std: float | None = None,
    engine: str | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    return_info: Literal[False] = False,
) -> np.ndarray: ...
@overload
def denoise(
    image: Any,
    *,
    h: float | None = None,
    sigma: float | None = None,
    method: str = "nlm",
    channel_axis: int | None = None,
    patch_radius: int | tuple[int, ...] | None = None,
    search_radius: int | tuple[int, ...] | None = None,
    patch_kernel: PatchKernel | None = None,
    center: Center | None = None,
    preset: Preset | None = None,
    h_color: float | None = None,
    radius: int | None = None,
    std: float | None = None,
    engine: str | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    return_info: Literal[True],
) -> tuple[np.ndarray, DenoiseInfo]: ...
def denoise(
    image: Any,
    *,
    h: float | None = None,
    sigma: float | None = None,
    method: str = "nlm",
    channel_axis: int | None = None,
    patch_radius: int | tuple[int, ...] | None = None,
    search_radius: int | tuple[int, ...] | None = None,
    patch_kernel: PatchKernel | None = None,
    center: Center | None = None,
    preset: Preset | None = None,
    h_color: float | None = None,
    radius: int | None = None,
    std: float | None = None,
    engine: str | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    return_info: bool = False,
) -> np.ndarray | tuple[np.ndarray, DenoiseInfo]:
    r"""Denoise an image.

    An option that is None is chosen by the method; one that the method does not have is an error.

    Parameters
    ----------
    image : array_like
        Image of two axes, or volume of three or four, and channels if `channel_axis` says so.
        uint8, uint16, int16, float16, float32 or float64, of any byte order and strides, finite.
        Its values are not rescaled, and it is not written to.
    h : float, optional
        Filter strength, 0 or from 1e-100 to 1e100, in the units of the image. Alone, it selects
        the plain form of NL-means, ``exp(-D / h^2)``, with OpenCV's default sizes; 0 returns the
        image.
    sigma : float, optional
        Standard deviation of the noise, >= 0, in the units of the image. It selects the offset
        form ``exp(-max(D - 2 sigma^2, 0) / h^2)`` and, unless they are given, h, the radii and
        ``center="max"`` by the rule of `nlmeans.rules`. Without h and sigma, sigma is estimated.
    method : {"nlm", "ridge", "learned", "opencv", "mean", "median", "gaussian"}, optional
        How to denoise.
    channel_axis : int, optional
        Axis that counts channels; None for an image without channels. The distance of patches is
        the mean over the channels, so that all are averaged with the same weights.
    patch_radius : int or tuple of int, optional
        "nlm" and (one int) "opencv": r of a patch of 2 r + 1 pixels, one or one per axis of space.
    search_radius : int or tuple of int, optional
        The same for the window that similar patches are looked for in; "ridge": one int.
    patch_kernel : {"flat", "gaussian"}, optional
        "nlm": weights of the pixels of a patch; default flat. "gaussian" has a standard
        deviation of half the patch radius.
    center : {"one", "max", "zero"}, optional
        "nlm": weight of the pixel itself: 1, the largest of the others, or 0.
    preset : {"fast", "balanced", "best"}, optional
        How much to spend. "nlm": "fast", the default, is pixelwise and one pass. "ridge":
        "balanced", the default, takes two steps, "best" many rounds.
    h_color : float, optional
        "opencv" on RGB: strength for the colors, `hColor`; default h, or from sigma.
    radius : int, optional
        "mean" and "median": r of a box of 2 r + 1 pixels; default 1.
    std : float, optional
        "gaussian": standard deviation in pixels; default 1.
    engine : {"numba", "reference", "torch"}, optional
        "nlm" and "ridge": what computes it; default "numba". "torch", of "nlm", runs on torch's
        default device.
    workers : int, optional
        Number of threads at most; default one for each processor. The result does not depend on
        it. "mean", "median", "gaussian" and the reference engine work on one.
    progress : callable, optional
        Called with the fraction done, from 0 to 1, in the calling thread.
    return_info : bool, optional
        Return what was chosen, too.

    Returns
    -------
    denoised : ndarray
        Of the image's shape and dtype, in native byte order. Integers are rounded and clipped.
    info : DenoiseInfo
        Only with `return_info`.

    Raises
    ------
    ParameterError
        If an argument breaks its rule; the text names it, the rule and what was got.

    Notes
    -----
    NL-means takes O(N (2 s + 1)^d) time for N pixels in d dimensions and a search radius s, nearly
    independent of the patch radius. It holds the float result and some megabytes for each thread,
    and a float copy of the image only if it is not contiguous or of a dtype other than uint8,
    uint16, int16, float32 and float64.
    Computed in float32, for float64 images in float64 with weights in float32.

    "ridge" takes O(N k^2 (k + p^2)) for groups of k patches of p x p pixels, and about ten floats
    for each pixel.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005.
    .. [2] A. Buades, B. Coll, J.-M. Morel, "Non-Local Means Denoising", IPOL 1, 2011,
       doi:10.5201/ipol.2011.bcm_nlm.
    .. [3] S. Herbreteau, C. Kervrann, "Towards a unified view of unsupervised non-local methods
       for image denoising: the NL-Ridge approach", ICIP 2022.
    .. [4] S. Herbreteau, C. Kervrann, "Unsupervised linear and iterative combinations of patches
       for image denoising", arXiv:2212.00422 ("ridge", preset "best").

    Examples
    --------
    >>> import numpy as np, nlmeans
    >>> clean = np.kron([[50.0, 200.0], [200.0, 50.0]], np.ones((32, 32)))
    >>> noisy = nlmeans.add_noise(clean, sigma=20, rng=0)
    >>> denoised = nlmeans.denoise(noisy, sigma=20)
    >>> bool(nlmeans.psnr(clean, denoised, data_range=255) > 35)
    True
    """
    array = check_array("image", image)
    axis = check_channel_axis("image", array, channel_axis)
    threads = check_workers(workers)
    options = {
        "h": h, "sigma": sigma, "h_color": h_color,
        "patch_radius": patch_radius, "search_radius": search_radius,
        "patch_kernel": patch_kernel, "center": center, "preset": preset,
        "radius": radius, "std": std, "engine": engine,
    }  # fmt: skip
    x = array[..., np.newaxis] if axis is None else np.moveaxis(array, axis, -1)
    denoiser, estimate = settle(x, method, options)
    y = from_float(denoiser(x, workers=threads, progress=progress), array.dtype)
    result = y[..., 0] if axis is None else np.moveaxis(y, -1, axis)
    if not return_info:
        return result
    return result, DenoiseInfo(method, asdict(denoiser), estimate)  # type: ignore[call-overload]
