"""Who is compared by benchmarks/quality.py, and the settings each may choose from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import COLOR_SETS, Case, Given

import nlmeans

THREADS = 2
"""For every tool that has threads; scikit-image and the Gaussian filter have not."""

Settings = dict[str, float]
Run = Callable[[np.ndarray, Given, Settings], np.ndarray]


def grid(**choices: tuple[float, ...]) -> tuple[Settings, ...]:
    """Every combination of the choices; a name with _ for the / of a ratio."""
    settings: tuple[Settings, ...] = ({},)
    for name, values in choices.items():
        key = name.replace("_", "/")
        settings = tuple({**one, key: value} for one in settings for value in values)
    return settings


@dataclass(frozen=True)
class Contender:
    """A tool, how it is called, and the settings it may choose from.

    Parameters
    ----------
    name : str
        Of its rows.
    run : callable
        From a noisy image, what is known about it and one of the settings to the result.
    settings : tuple of dict, optional
        The one with the best mean PSNR counts.
    package : str, optional
        The distribution whose version matters.
    eight_bit : bool, optional
        It takes 8-bit images only.
    blind : bool, optional
        It is not told the noise level.
    optional : bool, optional
        It runs only if it is asked for by name.
    try_all : bool, optional
        Settings are tried on all images, not on `quality.TRIED` of them.
    """

    name: str
    run: Run
    settings: tuple[Settings, ...] = ({},)
    package: str = "nlmeans"
    eight_bit: bool = False
    blind: bool = False
    optional: bool = False
    try_all: bool = False


def unchanged(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
    """What came in."""
    return noisy


def ours(method: str, preset: Any = None, *, blind: bool = False) -> Run:
    """nlmeans, told sigma or nothing."""

    def run(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
        sigma = None if blind else given.sigma
        return nlmeans.denoise(
            noisy,
            sigma=sigma,
            method=method,
            preset=preset,
            channel_axis=given.axis,
            workers=THREADS,
        )

    return run


def volume_sizes(noisy: np.ndarray) -> dict[str, int]:
    """Patch 3x3x3 and window 11x11x11; a window of 21 a side would be 9261 voxels."""
    return {"patch_radius": 1, "search_radius": 5} if noisy.ndim == 3 else {}


def modeled(method: str) -> Run:
    """nlmeans, told the model of the noise."""

    def run(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
        options: Any = {"noise": given.noise, "gain": given.gain, "sigma": given.sigma}
        sizes: Any = volume_sizes(noisy)
        return nlmeans.denoise(noisy, method=method, workers=THREADS, **options, **sizes)

    return run


def told_gaussian(method: str) -> Run:
    """nlmeans, told that the noise is white and Gaussian, with a multiple of its rms."""

    def run(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
        sigma, sizes = settings["sigma/rms"] * given.rms, volume_sizes(noisy)
        return nlmeans.denoise(noisy, sigma=sigma, method=method, workers=THREADS, **sizes)

    return run


def gaussian_filter(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
    """The local filter, to see what all the rest is for."""
    std = settings["std"]
    return nlmeans.denoise(noisy, method="gaussian", std=std, channel_axis=given.axis)


def opencv(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
    """OpenCV, its h in multiples of sigma, or in gray levels where sigma is not known."""
    import cv2

    cv2.setNumThreads(THREADS)
    if given.sigma is None:
        h = h_color = settings["h"]
    else:
        h = settings["h/sigma"] * given.sigma
        h_color = settings.get("hColor/sigma", 0) * given.sigma
    patch = int(settings.get("patch", 7))
    if given.axis is None:
        return cv2.fastNlMeansDenoising(noisy, None, h, patch, 21)
    bgr = np.ascontiguousarray(noisy[..., ::-1])
    return cv2.fastNlMeansDenoisingColored(bgr, None, h, h_color, patch, 21)[..., ::-1]


def nl_means(noisy: np.ndarray, sigma: float, settings: Settings, axis: int | None) -> np.ndarray:
    """Run scikit-image's fast mode."""
    from skimage.restoration import denoise_nl_means

    volume = noisy.ndim == 3 and axis is None
    return denoise_nl_means(
        noisy,
        patch_size=int(settings["patch"]),
        patch_distance=5 if volume else 10,
        h=settings["h/sigma"] * sigma,
        sigma=sigma,
        fast_mode=True,
        preserve_range=True,
        channel_axis=axis,
    )


def scikit_image(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
    """scikit-image, told sigma."""
    return nl_means(noisy, given.sigma or 0, settings, given.axis)


def scikit_image_stabilized(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
    """scikit-image between the stabilization of nlmeans, to sigma 1, and its inverse."""
    from nlmeans.noise.models import noise_model

    model = noise_model(given.noise, sigma=given.sigma, gain=given.gain)
    return model.invert(nl_means(model.stabilize(noisy), 1.0, settings, given.axis))


def bm3d(noisy: np.ndarray, given: Given, settings: Settings) -> np.ndarray:
    """BM3D of its authors, profile "np", told sigma, one of a grid, or our estimate."""
    import bm3d as package

    profile = package.BM3DProfile()
    profile.num_threads = THREADS
    sigma = settings.get("sigma", given.sigma)
    if sigma is None:
        sigma = nlmeans.estimate_sigma(noisy, channel_axis=given.axis)
    run = package.bm3d if given.axis is None else package.bm3d_rgb
    return 255 * run(noisy / 255.0, sigma / 255, profile)  # its scale is 0 to 1


NOISY = Contender("noisy", unchanged, package="numpy", blind=True)
BM3D = Contender("BM3D", bm3d, package="bm3d", optional=True)
WHITE_NOISE = (
    NOISY,
    Contender("Gaussian filter", gaussian_filter, grid(std=(0.5, 0.7, 0.9, 1.2, 1.6, 2.2))),
    Contender("nlm fast", ours("nlm", "fast")),
    Contender("nlm balanced", ours("nlm", "balanced")),
    Contender("nlm balanced blind", ours("nlm", "balanced", blind=True), blind=True),
    Contender("nlm best", ours("nlm", "best")),
    Contender("ridge balanced", ours("ridge", "balanced")),
    Contender("ridge balanced blind", ours("ridge", "balanced", blind=True), blind=True),
    Contender("ridge best", ours("ridge", "best")),
    Contender("learned-nlm", ours("learned-nlm")),
    Contender("learned balanced", ours("learned", "balanced"), package="onnxruntime"),
    Contender(
        "learned balanced blind",
        ours("learned", "balanced", blind=True),
        package="onnxruntime",
        blind=True,
    ),
    Contender("learned best", ours("learned", "best"), package="onnxruntime"),
)
SCIKIT_IMAGE = Contender(
    "scikit-image",
    scikit_image,
    grid(patch=(5, 7), h_sigma=(0.4, 0.5, 0.6, 0.7, 0.8)),
    package="scikit-image",
)
GRAY = (
    *WHITE_NOISE,
    Contender(
        "OpenCV",
        opencv,
        grid(patch=(5, 7), h_sigma=(0.7, 0.8, 0.9, 1.0, 1.1, 1.2)),
        package="opencv-python",
        eight_bit=True,
    ),
    SCIKIT_IMAGE,
    BM3D,
)
COLOR = (
    *WHITE_NOISE,
    Contender(
        "OpenCV",
        opencv,
        grid(
            patch=(5, 7),
            h_sigma=(0.3, 0.4, 0.5, 0.65, 0.8, 1.0),
            hColor_sigma=(0.4, 0.65, 1.0, 1.5),
        ),
        package="opencv-python",
        eight_bit=True,
    ),
    SCIKIT_IMAGE,
    BM3D,
)
NO_OPTIONS = (
    Contender("nlm default", ours("nlm", blind=True), blind=True),
    Contender("ridge default", ours("ridge", blind=True), blind=True),
    Contender("learned default", ours("learned", blind=True), package="onnxruntime", blind=True),
)
REAL = (
    NOISY,
    *NO_OPTIONS,
    Contender(
        "OpenCV",
        opencv,
        grid(patch=(5, 7), h=(2, 3, 4, 5, 6)),
        package="opencv-python",
        eight_bit=True,
        try_all=True,
    ),
    Contender("BM3D estimated sigma", bm3d, package="bm3d", blind=True, optional=True),
    Contender("BM3D", bm3d, grid(sigma=(9, 13, 18)), package="bm3d", optional=True),
)


def models(methods: tuple[str, ...], patches: tuple[float, ...]) -> tuple[Contender, ...]:
    """Each method told the model and told "gaussian", and scikit-image on stabilized data."""
    found = [NOISY]
    multiples = grid(sigma_rms=(0.5, 0.75, 1.0, 1.25, 1.5))
    for method in methods:
        found.append(Contender(f"{method} model", modeled(method)))
        found.append(Contender(f"{method} as Gaussian", told_gaussian(method), multiples))
    settings = grid(patch=patches, h_sigma=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8))
    name, run = "scikit-image stabilized", scikit_image_stabilized
    return (*found, Contender(name, run, settings, package="scikit-image"))


IMAGE_MODELS = models(("nlm", "ridge"), (5, 7))
VOLUME_MODELS = models(("nlm",), (3,))


def contenders(case: Case) -> tuple[Contender, ...]:
    """Who takes part in a case, in the order of the tables."""
    if case.modeled:
        return VOLUME_MODELS if case.set == "volume_MNI152" else IMAGE_MODELS
    if case.noise in ("real", "clean"):
        return REAL if case.noise == "real" else NO_OPTIONS
    return COLOR if case.set in COLOR_SETS else GRAY


NAMES = tuple(dict.fromkeys(c.name for c in (*GRAY, *COLOR, *REAL, *IMAGE_MODELS, *VOLUME_MODELS)))
"""All of them, once each."""
