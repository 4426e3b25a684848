"""Draw the pictures of the README from the sample images: `python docs/make_figures.py`."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np

import nlmeans
from nlmeans.affinity import EmbeddedGaussian
from nlmeans.embedding import Patch, PatchKey, PatchQuery
from nlmeans.engines import get_engine
from nlmeans.neighborhood import Window, crop, reflect
from nlmeans.operation import NonLocalMean

ROOT = Path(__file__).parents[1]

FACTOR = 10**6
"""What the difference is multiplied by to be seen in `identity`."""


def before_after() -> None:
    """Noisy, denoised and clean, side by side."""
    clean = iio.imread(ROOT / "sample_images/coffee.png")
    noisy = iio.imread(ROOT / "sample_images/coffee_noisy.png")
    denoised, info = nlmeans.denoise(noisy, channel_axis=-1, return_info=True)
    for name, image in (("noisy", noisy), ("denoised", denoised)):
        print(f"{name}: {nlmeans.psnr(clean, image):.2f} dB")
    print(info)
    row = np.concatenate([noisy, denoised, clean], axis=1)
    iio.imwrite(ROOT / "docs/before_after.png", row)


def identity() -> None:
    """NL-means, the non-local block with fixed embeddings, and their difference, side by side."""
    noisy = iio.imread(ROOT / "sample_images/camera_noisy.png")[20:220, 30:230]
    image, h, patch, window = noisy.astype(np.float32), 10.0, Patch(3), Window(10)
    # Taking a level off changes no difference of patches, but keeps the terms of theta . phi at
    # some |P|^2 / h^2 = 140, of which float32 drops 1e-5. With the level they are up to 540, and
    # the largest difference is 2e-3.
    level = np.round(image.mean())
    operation = NonLocalMean(EmbeddedGaussian(PatchQuery(h, patch), PatchKey(h, patch)), window)
    centered = (image - level)[..., np.newaxis]
    results = {"denoise": nlmeans.denoise(image, h=h, engine="numba")}
    for engine in ("reference", "torch"):
        results[engine] = get_engine(engine).average(operation, centered)[..., 0] + level
    results["module"] = _module(centered, h, patch, window) + level
    for name, one in results.items():
        largest = (f"{np.abs(one - other).max():.1e}" for other in results.values())
        print(f"{name}: differs by up to", *largest)
    denoised, block = results["denoise"], results["module"]
    difference = FACTOR * np.abs(denoised - block)
    row = np.concatenate([denoised, block, difference], axis=1)
    iio.imwrite(ROOT / "docs/identity.png", np.round(row).clip(0, 255).astype(np.uint8))


def _module(image: np.ndarray, h: float, patch: Patch, window: Window) -> np.ndarray:
    """y of a `NonLocalBlock` whose input is patch vectors P of an image (y, x, 1), and |P|^2."""
    import torch

    from nlmeans.learned import NonLocalBlock

    # Beyond the border NL-means goes on with the image and the block with its features, whose
    # patches are not mirrored: it gets the image with what its windows see of the continuation.
    margin = window.margin(2)
    vectors = patch(reflect(image, tuple(np.add(margin, patch.reach(2)))))
    features = np.concatenate([vectors, (vectors**2).sum(-1, keepdims=True)], -1)
    x = torch.from_numpy(features.astype(np.float32)).movedim(-1, 0)[None]  # (1, n + 1, y, x)
    n = vectors.shape[-1]
    block = NonLocalBlock(n + 1, inner=n + 1, neighborhood=window, scale=1.0)
    with torch.no_grad():
        for weight in block.parameters():
            weight.zero_()
        block.theta.weight[:n, :n] = 2 * torch.eye(n) / h**2  # (2 P / h^2, 1)
        block.theta.bias[n] = 1
        block.phi.weight[:n, :n] = torch.eye(n)  # (P, -|P|^2 / h^2)
        block.phi.weight[n, n] = -1 / h**2
        block.g.weight[0, n // 2] = n**0.5  # the pixel, from the middle of a patch divided by n^1/2
        block.w_z.weight[0, 0] = 1
        y = (block(x) - x)[0, 0].numpy()  # z = W_z y + x
    return crop(y, margin)


if __name__ == "__main__":
    before_after()
    identity()
