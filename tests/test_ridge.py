"""Ridge weights over groups of similar patches: the formula, both engines, the method."""

import numpy as np
import pytest

import oracle
from nlmeans import ParameterError, add_noise, denoise, psnr
from nlmeans.color import opponent
from nlmeans.denoisers.ridge import Ridge
from nlmeans.engines import GROUP_ENGINES, get_group_engine
from nlmeans.groups import Groups, ridge_weights
from nlmeans.rules import ridge_rule

CASES = [
    ((12, 13), Groups(3, 5, 3, 3)),
    ((9, 17), Groups(4, 6, 2, 4)),
    ((10, 10), Groups(5, 3, 4, 2)),
    ((7, 21), Groups(2, 17, 5, 2)),
]
"""Odd and even patches, numbers of members that are no multiple of 4, windows wider than images."""


def picture(rng, shape):
    """A ramp and an edge, with noise of 1."""
    y, x = np.indices(shape)
    return (y + 0.5 * x + 6 * (x > y) + rng.normal(0, 1, shape)).astype(np.float32)


@pytest.fixture(params=GROUP_ENGINES)
def engine(request):
    return get_group_engine(request.param)


# The formula


@pytest.mark.parametrize(("a", "b"), [(4.0, 4.0), (0.3, 6.3)])
def test_weights_are_the_oracles(rng, a, b):
    features = rng.normal(0, 2, (6, 9))
    expected = oracle.ridge_weights(features.tolist(), a, b)
    np.testing.assert_allclose(ridge_weights(features, a, b), expected, atol=1e-12)


def test_weights_of_two_worked_by_hand():
    """X = (0, 0), (2, 2) and a = b = 4: u is (e_1 - e_2)/2 times 1 / (4 + |x_1 - x_2|^2 / 2)."""
    theta = ridge_weights(np.array([[0.0, 0.0], [2.0, 2.0]]), 4.0, 4.0)
    np.testing.assert_allclose(theta, [[0.75, 0.25], [0.25, 0.75]], atol=1e-12)


def test_no_weights_whose_rows_sum_to_one_have_less_risk(rng):
    features, variance = rng.normal(0, 2, (5, 8)), 6.0
    theta = ridge_weights(features, variance, variance)
    np.testing.assert_allclose(theta.sum(1), 1, atol=1e-12)

    def risk(theta):
        return ((theta @ features - features) ** 2).sum() + variance * (theta**2).sum()

    for _ in range(20):
        change = rng.normal(0, 0.05, theta.shape)
        assert risk(theta + change - change.mean(1, keepdims=True)) > risk(theta)


# The engines


@pytest.mark.jit_off
@pytest.mark.parametrize(("shape", "groups"), CASES)
def test_members_are_the_oracles(engine, rng, shape, groups):
    image = picture(rng, shape)
    groups = groups.fitting(shape)
    members = engine.match(image, groups)
    p, k, radius = groups.patch_size, groups.members, groups.search_radius
    for corner, found in zip(groups.corners(shape), members, strict=True):
        expected = oracle.group_members(image, corner, p, k, radius)
        assert [tuple(c) for c in (corner + found).tolist()] == expected


@pytest.mark.jit_off
def test_of_equal_patches_the_first_are_members(engine):
    """All distances are 0 in a constant image, and the reference comes before them."""
    groups = Groups(2, 4, 2, 3)
    members = engine.match(np.zeros((8, 8), np.float32), groups)
    middle = [tuple(c) == (3, 3) for c in groups.corners((8, 8))].index(True)
    assert members[middle].tolist() == [[-2, -2], [-2, -1], [-2, 0], [0, 0]]


@pytest.mark.jit_off
@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize(("shape", "groups"), CASES)
def test_round_is_the_oracles(engine, rng, shape, groups, with_features):
    image = picture(rng, shape)
    features = 0.8 * image + rng.normal(0, 0.3, shape).astype(np.float32)
    groups = groups.fitting(shape)
    n = groups.patch_size**2
    a, b = (n, n) if with_features else (0.3 * n, 1.3 * n)
    members = engine.match(image, groups)
    noise = np.tile([a, b, 0.25], (len(members), 1))
    change, partial = engine.group_mean(
        image, features if with_features else None, members, groups, noise, partial=True
    )
    expected = oracle.grouped(
        image, features if with_features else image, image, groups.patch_size, groups.members,
        groups.search_radius, groups.step, a, b,
    )  # fmt: skip
    np.testing.assert_allclose(image + change, expected, rtol=0, atol=2e-4)
    np.testing.assert_allclose(partial, 0.25 * change, rtol=0, atol=2e-5)


def test_a_group_has_its_own_noise(engine, rng):
    """Where b vanishes nothing changes, beyond the patches of the groups that have one."""
    image = picture(rng, (12, 40))
    groups = Groups(3, 4, 2, 3)
    members = engine.match(image, groups)
    left = groups.corners(image.shape)[:, 1] < 20
    noise = np.where(left[:, None], [9.0, 9.0, 0.0], [9.0, 1e-30, 0.0])
    change = engine.group_mean(image, None, members, groups, noise)[0]
    assert np.abs(change[:, :18]).min() > 0
    np.testing.assert_allclose(change[:, 26:], 0, atol=1e-5)


# The method


@pytest.mark.parametrize("preset", ["balanced", "best"])
@pytest.mark.parametrize("channels", [1, 3])
def test_engines_agree_on_the_whole_method(rng, preset, channels):
    image = np.stack([10 * picture(rng, (26, 24)) for _ in range(channels)], -1)
    given = {"sigma": 12.0, "method": "ridge", "preset": preset, "search_radius": 6}
    given["channel_axis"] = -1
    fast = denoise(image, engine="numba", **given)
    exact = denoise(image, engine="reference", **given)
    assert np.abs(exact - image).max() > 10
    # Rounds may find another member where two are as near as rounding tells.
    np.testing.assert_allclose(fast, exact, rtol=0, atol=2e-2)


@pytest.mark.parametrize(("preset", "least"), [("balanced", 28.95), ("best", 29.15)])
def test_quality_on_a_photograph(camera, preset, least):
    """Noise of 25 on a crop; PSNR seen: 29.00 and 29.21."""
    clean = camera[100:228, 150:278].astype(np.float32)
    noisy = add_noise(clean, sigma=25, rng=0)
    result = denoise(noisy, sigma=25, method="ridge", preset=preset)
    assert psnr(clean, np.clip(result, 0, 255), data_range=255) > least


@pytest.mark.parametrize("preset", ["balanced", "best"])
def test_units_and_offsets_do_not_matter(camera, preset):
    noisy = add_noise(camera[:48, 100:148].astype(np.float64), sigma=20, rng=1)
    run = {"method": "ridge", "preset": preset}
    result = denoise(noisy, sigma=20, **run)
    np.testing.assert_allclose(denoise(noisy / 4, sigma=5, **run) * 4, result, atol=1e-9)
    np.testing.assert_allclose(denoise(noisy + 512, sigma=20, **run) - 512, result, atol=0.02)


def test_many_channels(rng):
    """Five channels: each keeps its level, to 3 standard errors, and noise goes from all."""
    levels = np.array([10.0, 50.0, 90.0, 130.0, 170.0])
    noisy = add_noise(np.broadcast_to(levels, (40, 40, 5)), sigma=8, rng=2)
    result = denoise(noisy, sigma=8, method="ridge", channel_axis=-1)
    np.testing.assert_allclose(result.mean((0, 1)), levels, atol=3 * 8 / 40)
    assert result.std((0, 1)).max() < 1.5


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_opponent_is_orthonormal_with_luma_first(channels):
    matrix = opponent(channels)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=1e-14)
    np.testing.assert_allclose(matrix[0], channels**-0.5)


def test_what_was_chosen_is_returned(camera):
    _, info = denoise(camera[:40, :40], sigma=20, method="ridge", return_info=True)
    chosen = ridge_rule(20, "balanced")
    assert info.settings["search_radius"] == chosen.search_radius == 24
    assert info.settings["preset"] == "balanced"


def test_no_noise_changes_nothing(camera):
    np.testing.assert_array_equal(denoise(camera, sigma=0, method="ridge"), camera)
    np.testing.assert_array_equal(denoise(camera, sigma=1e-5, method="ridge"), camera)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"search_radius": -1}, "search_radius must be an integer, at least 0"),
        ({"search_radius": 128}, "search_radius must be at most 127"),
        ({"search_radius": (3, 3)}, "search_radius must be an integer"),
        ({"preset": "fast"}, "preset must be one of balanced, best"),
        ({"sigma": -1}, "sigma must be a finite number at least 0|sigma must be .* at least 0"),
        ({"h": 10}, "h is not an option of method 'ridge'"),
    ],
)
def test_bad_options_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        denoise(np.zeros((20, 20)), method="ridge", **given)


def test_volumes_are_refused():
    with pytest.raises(ParameterError, match="takes images of two axes, not 3"):
        denoise(np.zeros((5, 6, 7)), method="ridge", sigma=1)


@pytest.mark.parametrize("preset", ["balanced", "best"])
def test_an_alpha_that_is_the_same_everywhere_stays_and_changes_no_color(rng, preset):
    colors = np.stack([picture(rng, (30, 34)) for _ in range(3)], -1)
    given = {"sigma": 1, "method": "ridge", "preset": preset, "channel_axis": -1}
    alpha = np.full((30, 34, 1), 255, np.float32)
    found = denoise(np.concatenate([colors, alpha], -1), **given)
    np.testing.assert_array_equal(found[..., 3:], alpha)
    np.testing.assert_array_equal(found[..., :3], denoise(colors, **given))


def test_an_image_that_is_the_same_everywhere_stays():
    image = np.full((20, 21, 3), 7, np.float32)
    np.testing.assert_array_equal(denoise(image, sigma=2, method="ridge", channel_axis=-1), image)


def test_halo_covers_both_steps():
    denoiser = Ridge(sigma=20, search_radius=5).settled(np.zeros((30, 30, 1)))
    assert denoiser.halo(2) == (2 * (5 + 11 - 1) + 2 * (5 + 8 - 1),) * 2
