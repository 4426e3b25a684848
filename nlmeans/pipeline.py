"""The way of an image through the library, from what came in to what goes out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, overload

import numpy as np

from nlmeans.affinity import Center, PatchKernel
from nlmeans.denoisers import METHODS, Denoiser
from nlmeans.denoisers.base import Preset
from nlmeans.dtypes import from_float
from nlmeans.errors import ParameterError
from nlmeans.progress import Progress
from nlmeans.sure import refined_h
from nlmeans.treatment import (
    Noise,
    check_chroma,
    check_noise,
    estimated_noise,
    given_noise,
    treated,
)
from nlmeans.validation import (
    check_array,
    check_channel_axis,
    check_choice,
    check_if_many,
    check_workers,
)

NoiseName = Literal["gaussian", "poisson", "poisson-gaussian", "rician", "speckle"]


@dataclass(frozen=True)
class DenoiseInfo:
    """What `denoise` did.

    Parameters
    ----------
    method : str
        Name of the method.
    settings : dict of str to object
        Every option of the method with the value it had, chosen or given, in its last run; h and
        sigma in the units of the image, or of the stabilized image.
    noise : nlmeans.treatment.Noise
        What was given or found of the noise: `model`, `sigma`, `gain` and `scales`, which give the
        same result when they are given to `denoise`, and the `estimate`, if that was made.
    risk : float or None
        With `tune`, the mean squared error that is estimated for h, in squared units of what
        settings are in; it can be negative by chance.
    """

    method: str
    settings: dict[str, Any]
    noise: Noise
    risk: float | None = None

    @property
    def estimated_sigma(self) -> float | None:
        """The noise level, where it was estimated, else None."""
        return self.noise.estimate.strength if self.noise.estimate else None


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


def check_tune(tune: Any, method: str, options: dict[str, Any]) -> None:
    """Check that there is an h to refine."""
    if not isinstance(tune, bool):
        raise ParameterError("tune", "must be True or False", tune)
    if tune and method != "nlm":
        raise ParameterError("tune", f"is not an option of method {method!r}, only of nlm", tune)
    if tune and options.get("h") is not None:
        raise ParameterError("tune", "must not be given with h, which it chooses", tune)


def tuned(
    image: np.ndarray, method: str, options: dict[str, Any], denoiser: Any, workers: int
) -> tuple[Denoiser, float]:
    """The denoiser of an image (*space, C) with the h of least estimated risk, and that risk."""
    if not denoiser.h:  # no noise
        return denoiser, 0.0
    fixed = options | settings_of(denoiser)

    def run(z: np.ndarray, *, h: float) -> np.ndarray:
        return settle(z, method, fixed | {"h": h})(z, workers=workers)

    h, risk = refined_h(image, denoiser.sigma, denoiser.h, run)
    return settle(image, method, fixed | {"h": h}), risk


def settings_of(denoiser: Denoiser) -> dict[str, Any]:
    """The options of a denoiser with their values."""
    return {
        field.name: getattr(denoiser, field.name)
        for field in fields(denoiser)  # type: ignore[arg-type]
        if field.init
    }


def is_gray(image: np.ndarray) -> bool:
    """Whether all channels of an image (*space, C) are the same."""
    return all(np.array_equal(image[..., 0], image[..., c]) for c in range(1, image.shape[-1]))


def check(method: str, options: dict[str, Any], **noise: Any) -> Denoiser:
    """Check options and what is given of the noise, as far as that does not depend on the image.

    Parameters
    ----------
    method : str
        Name of the method.
    options : dict of str to object
        Its options but sigma.
    **noise
        noise, sigma, gain and scales of `denoise`.
    """
    check_if_many("sigma", noise["sigma"])
    check_if_many("scales", noise["scales"])
    sigma = noise["sigma"] if np.ndim(noise["sigma"]) == 0 else 1.0
    if noise["noise"] not in (None, "gaussian"):
        sigma = None  # the model's, not the method's
    denoiser = build(method, options | {"sigma": sigma})
    check_noise(**noise)
    if options.get("h") is not None:
        other = noise["noise"] not in (None, "gaussian") or noise["scales"] is not None
        if other or np.ndim(noise["sigma"]) > 0:
            rule = "must go with one sigma of Gaussian noise, or with none"
            raise ParameterError("h", rule, options["h"])
    return denoiser


def check_strengths(denoiser: Denoiser, method: str, **given: Any) -> None:
    """Refuse strengths of luma, chroma and scales for a method that has no strength."""
    if not {"h", "sigma"} & settings_of(denoiser).keys():
        for name, value in given.items():
            if value is not None:
                rule = f"is not an option of method {method!r}, which has no strength"
                raise ParameterError(name, rule, value)


def find_noise(image: np.ndarray, denoiser: Denoiser, **noise: Any) -> Noise:
    """The noise of an image (*space, C), with what is not given estimated, if a method asks."""
    if denoiser.needs_sigma and all(value is None for value in noise.values()):
        return estimated_noise(image, white_only="float32" not in denoiser.dtypes)
    found = given_noise(image, **noise)
    if denoiser.needs_sigma and found.method_sigma() is None:
        return estimated_noise(image, white_only=True)
    return found


def with_strength(
    method: str, options: dict[str, Any], noise: Noise, strength: float
) -> dict[str, Any]:
    """Options with h and sigma times a strength, sigma only if a method has it."""
    sigma = noise.method_sigma()
    given = noise.model == "gaussian" and noise.scales is None
    if not given and "sigma" not in {f.name for f in fields(METHODS[method])}:  # type: ignore[arg-type]
        sigma = None
    values = {"h": options.get("h"), "h_color": options.get("h_color"), "sigma": sigma}
    return options | {k: v if v is None else v * strength for k, v in values.items()}


def settle(image: np.ndarray, method: str, options: dict[str, Any]) -> Denoiser:
    """The method for an image (*space, C), with nothing left open."""
    denoiser = build(method, options)
    if image.dtype.newbyteorder("=").name not in denoiser.dtypes:
        raise ParameterError(
            "image",
            f"must have a dtype of {', '.join(denoiser.dtypes)} for method {method!r}",
            image.dtype.name,
        )
    return denoiser.settled(image)


@overload
def denoise(
    image: Any,
    *,
    h: float | None = None,
    sigma: float | Sequence[float] | np.ndarray | None = None,
    noise: NoiseName | None = None,
    gain: float | None = None,
    scales: Sequence[float] | None = None,
    method: str = "nlm",
    channel_axis: int | None = None,
    patch_radius: int | tuple[int, ...] | None = None,
    search_radius: int | tuple[int, ...] | None = None,
    patch_kernel: PatchKernel | None = None,
    center: Center | None = None,
    preset: Preset | None = None,
    chroma: float | None = None,
    h_color: float | None = None,
    radius: int | None = None,
    std: float | None = None,
    tune: bool = False,
    engine: str | None = None,
    device: str | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    return_info: Literal[False] = False,
) -> np.ndarray: ...
@overload
def denoise(
    image: Any,
    *,
    h: float | None = None,
    sigma: float | Sequence[float] | np.ndarray | None = None,
    noise: NoiseName | None = None,
    gain: float | None = None,
    scales: Sequence[float] | None = None,
    method: str = "nlm",
    channel_axis: int | None = None,
    patch_radius: int | tuple[int, ...] | None = None,
    search_radius: int | tuple[int, ...] | None = None,
    patch_kernel: PatchKernel | None = None,
    center: Center | None = None,
    preset: Preset | None = None,
    chroma: float | None = None,
    h_color: float | None = None,
    radius: int | None = None,
    std: float | None = None,
    tune: bool = False,
    engine: str | None = None,
    device: str | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    return_info: Literal[True],
) -> tuple[np.ndarray, DenoiseInfo]: ...
def denoise(
    image: Any,
    *,
    h: float | None = None,
    sigma: float | Sequence[float] | np.ndarray | None = None,
    noise: NoiseName | None = None,
    gain: float | None = None,
    scales: Sequence[float] | None = None,
    method: str = "nlm",
    channel_axis: int | None = None,
    patch_radius: int | tuple[int, ...] | None = None,
    search_radius: int | tuple[int, ...] | None = None,
    patch_kernel: PatchKernel | None = None,
    center: Center | None = None,
    preset: Preset | None = None,
    chroma: float | None = None,
    h_color: float | None = None,
    radius: int | None = None,
    std: float | None = None,
    tune: bool = False,
    engine: str | None = None,
    device: str | None = None,
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
    sigma : float, sequence of float or ndarray, optional
        Standard deviation of the noise, >= 0, in the units of the image ("speckle": of the factor
        whose mean is 1); with Gaussian noise also one for each channel, above 0, or a map of the
        shape of the image without channels. It selects the offset form of NL-means,
        ``exp(-max(D - 2 sigma^2, 0) / h^2)``, and, unless they are given, h, the radii and
        ``center="max"`` by the rule of `nlmeans.rules`.
    noise : {"gaussian", "poisson", "poisson-gaussian", "rician", "speckle"}, optional
        Kind of noise. All but "gaussian" are made Gaussian of sigma 1 first, whatever the method,
        and the result is brought back by the exact unbiased inverse (`nlmeans.noise.models`);
        sigma and gain are estimated if they are not given. Default: "gaussian"; if neither h nor
        sigma nor scales are given, what the noise of the image is estimated to be.
    gain : float, optional
        "poisson" and "poisson-gaussian": values of the image for one count; the variance of the
        noise is gain times the value, and sigma^2.
    scales : sequence of float, optional
        Of Gaussian noise that is correlated between pixels, sigma at scale 1, 2, 4 ..., that is of
        the image at half the size each time, in place of sigma. The image is denoised at each, by
        a method that has an h or sigma.
    method : {"nlm", "ridge", "learned", "learned-nlm", "opencv", "mean", "median", "gaussian"}
        How to denoise; default "nlm".
    channel_axis : int, optional
        Axis that counts channels; None for an image without channels. NL-means averages all with
        the same weights; its distance of patches is the mean over the channels, of RGB images with
        a sigma the weighted mean over luma and chroma, 1 to 0.16 (`nlmeans.rules.CHROMA_WEIGHT`).
        An image whose channels are equal is a gray one, but for "opencv".
    patch_radius : int or tuple of int, optional
        "nlm" and (one int) "opencv": r of a patch of 2 r + 1 pixels, one or one per axis of space.
    search_radius : int or tuple of int, optional
        The same for the window that similar patches are looked for in; also of "learned-nlm", and
        of "ridge" (one int).
    patch_kernel : {"flat", "gaussian"}, optional
        "nlm": weights of the pixels of a patch; default flat. "gaussian" has a standard
        deviation of half the patch radius.
    center : {"one", "max", "zero"}, optional
        "nlm": weight of the pixel itself: 1, the largest of the others, or 0.
    preset : {"fast", "balanced", "best"}, optional
        How much to spend. "nlm": "fast" averages pixels, "balanced" whole patches, "best" takes a
        second pass; default "balanced", with h alone "fast". "ridge": "balanced", the default,
        takes two steps, "best" many rounds. "learned": "balanced", the default, or "best", the
        mean over the eight turned and mirrored images.
    chroma : float, optional
        Strength for chroma, as a multiple of that for luma, >= 0; default 1. It takes two runs of
        a method that has an h or sigma.
    h_color : float, optional
        "opencv" on RGB: strength for the colors, `hColor`; default h, or from sigma.
    radius : int, optional
        "mean" and "median": r of a box of 2 r + 1 pixels; default 1.
    std : float, optional
        "gaussian": standard deviation in pixels; default 1.
    tune : bool, optional
        "nlm" with sigma: refine the h of the rule, by Stein's unbiased estimate of the risk from
        the image itself (`nlmeans.sure`), which takes ten runs on up to 65536 pixels. It presumes
        that the noise is Gaussian and not clipped.
    engine : {"numba", "reference", "torch"}, optional
        "nlm", "learned-nlm" and "ridge", which has no "torch": what computes it; default "numba".
    device : str, optional
        "nlm" and "learned-nlm" with engine "torch", and "learned": where PyTorch is to compute,
        "cpu", "cuda" or any other that it has; default its default one.
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
    for each pixel. "learned" takes some 450,000 operations for each pixel, five floats for each
    value, and up to 3.5 GB for a tile of 1024 x 1024; "learned-nlm" is NL-means of single pixels,
    with eight floats more for each.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005.
    .. [2] A. Buades, B. Coll, J.-M. Morel, "Non-Local Means Denoising", IPOL 1, 2011,
       doi:10.5201/ipol.2011.bcm_nlm.
    .. [3] S. Herbreteau, C. Kervrann, "Towards a unified view of unsupervised non-local methods
       for image denoising: the NL-Ridge approach", ICIP 2022.
    .. [4] S. Herbreteau, C. Kervrann, "Unsupervised linear and iterative combinations of patches
       for image denoising", arXiv:2212.00422 ("ridge", preset "best").
    .. [5] X. Wang, R. Girshick, A. Gupta, K. He, "Non-local Neural Networks", CVPR 2018 (the
       block that "learned" is built around).
    .. [6] D. Van De Ville, M. Kocher, "SURE-based non-local means", IEEE Signal Processing Letters
       16(11), 2009; S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE", IEEE TIP 17(9), 2008 (tune).

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
        "h": h, "h_color": h_color,
        "patch_radius": patch_radius, "search_radius": search_radius,
        "patch_kernel": patch_kernel, "center": center, "preset": preset,
        "radius": radius, "std": std, "engine": engine, "device": device,
    }  # fmt: skip
    x = array[..., np.newaxis] if axis is None else np.moveaxis(array, axis, -1)
    chroma = check_chroma(chroma, x.shape[-1])
    check_tune(tune, method, options)
    shape = x.shape
    known: dict[str, Any] = {"noise": noise, "sigma": sigma, "gain": gain, "scales": scales}
    denoiser = check(method, options, **known)
    check_strengths(denoiser, method, chroma=chroma, scales=scales)
    if method != "opencv" and np.ndim(known["sigma"]) != 1 and is_gray(x):
        # Its channels share their noise, which no rule for channels expects, and it has no chroma.
        x, chroma = x[..., :1], None
    found = find_noise(x, denoiser, **known)
    settings: dict[str, Any] = {}
    risks: list[float] = []

    def run(z: np.ndarray, strength: float, report: Progress | None) -> np.ndarray:
        given = with_strength(method, options, found, strength)
        denoiser = settle(z, method, given)
        if tune:
            denoiser, risk = tuned(z, method, given, denoiser, threads)
            risks.append(risk)
        settings.update(settings_of(denoiser))
        return denoiser(z, workers=threads, progress=report)

    y = from_float(treated(x, found, chroma, run, progress), array.dtype)
    if y.shape != shape:
        y = np.repeat(y, shape[-1], -1)
    result = y[..., 0] if axis is None else np.moveaxis(y, -1, axis)
    if not return_info:
        return result
    return result, DenoiseInfo(method, settings, found, risks[-1] if risks else None)
