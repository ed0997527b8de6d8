"""Order, resuming, lanes, short batches, replicas."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.data import Augmentation, load_images
from tfembed.data.array_split import ArraySplit, numbered_names


def _split(size=50, shape=(8, 8, 3), seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (size, *shape))
    return ArraySplit(
        images.astype(np.uint8), None, numbered_names("made", "train", size)
    )


def _list(dataset):
    return [(b["ids"], b["images"]) for b in dataset.as_numpy_iterator()]


def _assert_same(left, right):
    assert len(left) == len(right)
    for (ids, images), (other_ids, other_images) in zip(left, right):
        np.testing.assert_array_equal(ids, other_ids)
        np.testing.assert_array_equal(images, other_images)


@pytest.fixture(scope="module")
def augmentation():
    pytest.importorskip("keras_cv")
    return Augmentation((8, 8, 3), saturation=0, hue=0)  # the slow ones to trace


def test_batches_are_all_images_once_in_order():
    split = _split()
    dataset = split.batches(8)
    assert len(dataset) == 7
    assert dataset.element_spec["images"].dtype == tf.float32
    assert dataset.element_spec["images"].shape[1:] == (8, 8, 3)
    assert dataset.element_spec["ids"].dtype == tf.int64
    batches = _list(dataset)
    np.testing.assert_array_equal(np.concatenate([i for i, _ in batches]), range(50))
    images = np.concatenate([images for _, images in batches])
    np.testing.assert_array_equal(images, split.read(range(50)))


def test_batches_shuffled_by_a_seed():
    split = _split()
    one, again, other = (_list(split.batches(8, seed)) for seed in (1, 1, 2))
    _assert_same(one, again)
    order, other_order = (np.concatenate([i for i, _ in x]) for x in (one, other))
    assert sorted(order) == list(range(50))
    assert order.tolist() != list(range(50)) and order.tolist() != other_order.tolist()
    for ids, images in one:
        np.testing.assert_array_equal(images, split.read(ids))


def test_every_epoch_has_every_image_once_in_an_order_of_its_own():
    split = _split()
    dataset = split.epochs(8, seed=3, first_epoch=0, last_epoch=4)
    assert len(dataset) == 28
    batches = _list(dataset)
    assert [len(ids) for ids, _ in batches[:7]] == [8] * 6 + [2]
    epochs = [np.concatenate([i for i, _ in batches[e * 7 :][:7]]) for e in range(4)]
    for ids in epochs:
        assert sorted(ids) == list(range(50))
    assert len({tuple(ids) for ids in epochs}) == 4
    for ids, images in batches:
        np.testing.assert_array_equal(images, split.read(ids))


@pytest.mark.parametrize("size", [1, 2, 37])
def test_any_image_comes_at_any_place_equally_often(size):
    epochs = 1500
    ids = np.stack([ids for ids, _ in _list(_split(size).epochs(size, 4, 0, epochs))])
    counts = np.stack([np.bincount(column, minlength=size) for column in ids.T])
    chi_square = ((counts - epochs / size) ** 2 / (epochs / size)).sum()
    freedom = (size - 1) ** 2
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom) + 1e-9
    if size > 2:  # nor does the image before say which comes next
        pairs = np.zeros((size, size))
        np.add.at(pairs, (ids[:, :-1].ravel(), ids[:, 1:].ravel()), 1)
        expected = epochs * (size - 1) / (size * (size - 1))
        off = ((pairs - expected) ** 2 / expected)[~np.eye(size, dtype=bool)].sum()
        assert abs(off - size * (size - 1)) < 6 * np.sqrt(2 * size * (size - 1))


def test_drop_remainder_drops_the_short_batch():
    dataset = _split().epochs(8, 0, 0, 2, drop_remainder=True)
    assert len(dataset) == 12
    assert [len(ids) for ids, _ in _list(dataset)] == [8] * 12


def test_starting_at_epoch_3_is_the_uninterrupted_run_from_there():
    pytest.importorskip("keras_cv")
    augmentation = Augmentation((8, 8, 3))
    whole = _list(_split().epochs(8, 5, 0, 5, augmentation))
    _assert_same(_list(_split().epochs(8, 5, 3, 5, augmentation)), whole[21:])
    fresh = Augmentation((8, 8, 3))
    _assert_same(_list(_split().epochs(8, 5, 3, 5, fresh)), whole[21:])


def test_lanes_change_nothing(augmentation):
    one = _list(_split().epochs(8, 5, 0, 3, augmentation))
    for lanes in (2, 4):
        _assert_same(_list(_split().epochs(8, 5, 0, 3, augmentation, lanes=lanes)), one)


def test_two_pipelines_at_once_do_not_disturb_each_other(augmentation):
    alone = _list(_split().epochs(8, 5, 0, 2, augmentation))
    pair = zip(
        _split().epochs(8, 5, 0, 2, augmentation).as_numpy_iterator(),
        _split().epochs(8, 6, 0, 2, augmentation, lanes=2).as_numpy_iterator(),
    )
    _assert_same([(b["ids"], b["images"]) for b, _ in pair], alone)


def test_each_batch_is_augmented_with_the_seed_of_its_epoch_and_step():
    seeds = []

    def spy(images, seed):
        # The seed, in the images, as the pipeline shows nothing else.
        ones = tf.ones_like(tf.cast(images, tf.float32))
        return ones * tf.cast(4096 * (seed[0] % 4093) + seed[1] % 4096, tf.float32)

    for seed in (0, 1):
        for _, images in _list(_split().epochs(8, seed, 0, 5, spy)):
            assert np.ptp(images) == 0
            seeds.append(images.flat[0])
    assert len(set(seeds)) == len(seeds)
    again = [i.flat[0] for _, i in _list(_split().epochs(8, 1, 0, 5, spy))]
    assert again == seeds[35:]


def test_an_image_looks_different_in_each_epoch(augmentation):
    looks = {}
    for ids, images in _list(_split().epochs(8, 5, 0, 4, augmentation)):
        for row, image in zip(ids, images):
            looks.setdefault(row, set()).add(image.tobytes())
    assert all(len(looks[row]) == 4 for row in range(50))


def test_a_mapped_file_reads_as_memory_does(tmp_path, augmentation):
    split = _split()
    split._images.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, "r", shape=(50, 8, 8, 3))
    on_disk = ArraySplit(mapped, None, split.names)
    _assert_same(_list(on_disk.batches(8)), _list(split.batches(8)))
    _assert_same(
        _list(on_disk.epochs(8, 1, 0, 2, augmentation, lanes=2)),
        _list(split.epochs(8, 1, 0, 2, augmentation)),
    )
    taken = on_disk.take(np.array([3, 5]))
    np.testing.assert_array_equal(taken.read([1]), split.read([5]))


@pytest.mark.parametrize("size", [50, 49])
def test_replicas_share_a_global_batch_and_lose_nothing(strategy, augmentation, size):
    dataset = _split(size).epochs(8, 2, 0, 2, augmentation)
    expected = _list(dataset)
    distributed = strategy.experimental_distribute_dataset(dataset)
    seen = []
    for batch in distributed:
        parts = [
            [part.numpy() for part in strategy.experimental_local_results(batch[key])]
            for key in ("ids", "images")
        ]
        sizes = [len(part) for part in parts[0]]
        assert sum(sizes) <= 8 and max(sizes) <= 4
        seen.append(tuple(np.concatenate(part) for part in parts))
    _assert_same(seen, expected)


def test_more_epochs_than_asked_for_are_not_given():
    assert len(_list(_split().epochs(50, 0, 7, 7))) == 0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 51, "drop_remainder": True}, "batch_size"),
        ({"first_epoch": 2, "last_epoch": 1}, "first_epoch"),
        ({"first_epoch": -1}, "first_epoch"),
        ({"lanes": 0}, "lanes"),
    ],
)
def test_what_is_out_of_range_is_named(arguments, name):
    given = {"batch_size": 8, "seed": 0, "first_epoch": 0, "last_epoch": 1}
    with pytest.raises(ValueError, match=f"`{name}`.*Received"):
        _split().epochs(**{**given, **arguments})


def test_synthetic_images_are_learnable_and_follow_the_seed():
    one, again, other = (load_images("synthetic", seed=s) for s in (0, 0, 1))
    pixels = one.train.read(range(one.train.size)).reshape(one.train.size, -1)
    same = again.train.read(range(again.train.size)).reshape(pixels.shape)
    np.testing.assert_array_equal(pixels, same)
    different = other.train.read(range(other.train.size)).reshape(pixels.shape)
    assert (different != pixels).any()
    test = one.test.read(range(one.test.size)).reshape(one.test.size, -1)
    means = np.stack([pixels[one.train.labels == c].mean(0) for c in range(10)])
    distances = ((test[:, None].astype(float) - means) ** 2).sum(-1)
    assert (distances.argmin(1) == one.test.labels).mean() > 0.8
    assert load_images("synthetic", image_size=12, channels=3).image_shape == (
        12,
        12,
        3,
    )
