import numpy as np
import pytest
from reference import matching as reference

from fastrefocus.native.votes import gather_votes
from fastrefocus.synthesis.matching import (
    NEIGHBOURS,
    NOISE_VARIANCE,
    VOTE_HALF,
    Look,
    Matches,
    Windows,
    library_positions,
    match,
    vote,
)
from fastrefocus.synthesis.search import nearest_vectors


def smooth(seed, shape=(40, 48, 3)):
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random(shape)
    return np.clip(0.5 + 4 * (gaussian_filter(noise, (2, 2, 0)) - 0.5), 0, 1).astype(np.float32)


def look(seed, shape=(40, 48, 3)):
    return Look(smooth(seed, shape), smooth(seed + 100, shape))


def all_pixels(shape):
    return np.argwhere(np.ones(shape, bool)).astype(np.int32)


def test_features_are_those_of_the_reference():
    photo, windows = look(0), Windows.for_blur(3.5)
    pixels = np.array([[0, 0], [3, 47], [20, 20], [39, 5]], np.int32)
    for (row, column), feature in zip(pixels, windows.describe(photo, pixels), strict=True):
        expected = [
            reference.describe(photo.blurred, row, column, 7, 4, 1.0),
            reference.describe(photo.deconvolved, row, column, 2.5, 2, 0.6),
        ]
        np.testing.assert_allclose(feature, np.concatenate(expected), atol=1e-6)


def test_finds_the_nearest_patches_of_all_photos():
    photo, examples, windows = look(0), [look(1), look(2, (30, 36, 3))], Windows.for_blur(2)
    positions = library_positions([np.ones((40, 48), bool), np.ones((30, 36), bool)])
    queries = np.array([[5, 7], [20, 30], [0, 47]], np.int32)
    found = match(photo, examples, queries, positions, windows, threads=1)
    library = np.concatenate([windows.describe(e, positions[positions[:, 0] == i, 1:]) for i, e in enumerate(examples)])
    wanted = windows.describe(photo, queries)
    for feature, patches, distances in zip(wanted, found.patches, found.distances, strict=True):
        exact = np.square(library - feature).sum(axis=1)
        assert exact[patches[0]] <= 1.2 * exact.min()  # what the axes left out does not count
        assert (distances <= exact[patches] + 1e-6).all()
    np.testing.assert_allclose(found.contrast, np.square(wanted).sum(axis=1), rtol=1e-5)


def test_finds_its_own_place_again():
    photo = look(3)
    positions = library_positions([np.ones((40, 48), bool)])
    queries = positions[::7, 1:]
    found = match(photo, [photo], queries, positions, Windows.for_blur(2), threads=2)
    np.testing.assert_array_equal(positions[found.patches[:, 0], 1:], queries)
    assert found.distances[:, 0].max() < 1e-6


def test_of_equally_good_patches_the_registered_one_is_taken():
    photo = Look(*(np.tile(smooth(4, (40, 16, 3)), (1, 4, 1)) for _ in range(2)))  # repeats every 16 pixels
    positions = library_positions([np.ones((40, 64), bool)])
    queries = np.array([[20, 26], [12, 40]], np.int32)
    nowhere = np.zeros((40, 64), bool)
    found = match(photo, [photo], queries, positions, Windows.for_blur(2), places=queries, exact=[nowhere], threads=1)
    for k in range(NEIGHBOURS):
        np.testing.assert_array_equal(positions[found.patches[:, k], 1:], queries)
    assert found.distances.max() < 1e-6


def test_a_registered_place_that_shows_something_else_or_is_no_patch_is_left_alone():
    photo, positions = look(3), library_positions([np.ones((40, 48), bool)])
    queries, places = np.array([[20, 26], [12, 20]], np.int32), np.array([[8, 8], [1, 1]], np.int32)
    nowhere = np.zeros((40, 48), bool)
    found, without = (
        match(photo, [photo], queries, positions, Windows.for_blur(2), places=there, exact=[nowhere], threads=1)
        for there in (places, None)
    )
    np.testing.assert_array_equal(found.patches, without.patches)


def test_where_the_place_is_exact_others_may_be_a_little_nearer():
    repeated, rng = np.tile(smooth(4, (40, 16, 3)), (1, 4, 1)), np.random.default_rng(8)
    photo, example = (Look(noisy, noisy) for noisy in rng.normal(repeated, 0.02, (2, 40, 64, 3)).astype(np.float32))
    positions, everywhere = library_positions([np.ones((40, 64), bool)]), np.ones((40, 64), bool)
    own = []
    for exact in (everywhere, ~everywhere):
        places = positions[:, 1:]
        found = match(
            photo, [example], places, positions, Windows.for_blur(2), places=places, exact=[exact], threads=1
        )
        own.append(np.mean(found.patches[:, -1] == np.arange(len(positions))))
    assert own[0] > 0.95
    assert own[1] < 0.6


def test_votes_are_those_of_the_reference():
    rng = np.random.default_rng(0)
    shape, values = (24, 30), rng.random((2, 40, 48, 3), np.float32)
    positions = library_positions([np.ones((40, 48), bool)] * 2)
    pixels = all_pixels(shape)[rng.random(24 * 30) < 0.1]
    patches = rng.integers(len(positions), size=(len(pixels), NEIGHBOURS)).astype(np.int32)
    distances = rng.random(patches.shape, np.float32) * np.float32(NOISE_VARIANCE)
    matches = Matches(pixels, positions, patches, distances, np.ones(len(pixels), np.float32))
    weights = 1 / (1 + distances / NOISE_VARIANCE) ** 2
    expected = reference.vote(pixels, positions[patches], weights, values, VOTE_HALF, shape)
    for threads in (1, 3):
        for array, reference_array in zip(vote(matches, values, shape, threads=threads), expected, strict=True):
            np.testing.assert_allclose(array, reference_array, atol=2e-6)


@pytest.mark.parametrize("gather", [gather_votes, gather_votes.py_func], ids=["compiled", "python"])
def test_a_single_vote_is_the_patch_itself(gather):
    values = np.random.default_rng(1).random((1, 9, 9, 2), np.float32)
    queries = np.full((5, 5), -1, np.int32)
    queries[2, 2] = 0
    means, variances = np.zeros((5, 5, 2), np.float32), np.ones((5, 5, 2), np.float32)
    positions, one = np.array([[0, 4, 4]], np.int32), np.ones((1, 1), np.float32)
    gather(queries, np.zeros((1, 1), np.int32), one, positions, values, 1, means, variances, 0, 5)
    np.testing.assert_array_equal(means[1:4, 1:4], values[0, 3:6, 3:6])
    np.testing.assert_allclose(variances[1:4, 1:4], 0, atol=1e-7)
    assert (means[0] == 0).all()
    assert (variances[0] == 1).all()  # nobody votes there


def test_patches_lie_wholly_inside_the_masks():
    mask = np.zeros((30, 30), bool)
    mask[5:20, 3:28] = True
    positions = library_positions([mask, np.zeros((12, 12), bool), np.ones((9, 9), bool)])
    assert set(positions[:, 0]) == {0, 2}
    first = positions[positions[:, 0] == 0, 1:]
    assert first.min(axis=0).tolist() == [9, 7]
    assert first.max(axis=0).tolist() == [15, 23]
    assert positions[-1].tolist() == [2, 4, 4]


def test_cells_find_nearly_all_that_brute_force_finds():
    rng = np.random.default_rng(2)
    library = rng.normal(size=(6000, 6)).astype(np.float32)
    queries = rng.normal(size=(700, 6)).astype(np.float32)
    distances, numbers = nearest_vectors(library, queries, 5, threads=1)
    again = nearest_vectors(library, queries, 5, threads=3)
    np.testing.assert_array_equal(distances, again[0])
    np.testing.assert_array_equal(numbers, again[1])
    exact = np.square(library[np.newaxis] - queries[:, np.newaxis]).sum(axis=2)
    assert np.mean(numbers[:, 0] == exact.argmin(axis=1)) > 0.9
    np.testing.assert_allclose(distances, np.take_along_axis(exact, numbers, axis=1), atol=1e-4)


def test_where_the_cells_hold_too_few_all_vectors_are_searched():
    library = np.repeat(np.arange(60, dtype=np.float32), 100)[:, np.newaxis] * 1000  # 60 cells of equal vectors
    library = np.hstack([library, np.zeros_like(library)])
    distances, numbers = nearest_vectors(library, library[::1000], 500, threads=1)
    assert (numbers >= 0).all()
    assert np.isfinite(distances).all()


def test_a_library_of_few_vectors_gives_its_last_again():
    library = np.array([[0.0], [1.0]], np.float32)
    distances, numbers = nearest_vectors(library, np.array([[0.2]], np.float32), 4, threads=1)
    assert numbers.tolist() == [[0, 1, 1, 1]]
    np.testing.assert_allclose(distances[0, 1:], 0.64, rtol=1e-5)
