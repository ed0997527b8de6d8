"""P x K batches: what is in them, in which order, resumed and split."""

import collections
import time

import numpy as np
import pytest
import tensorflow as tf

from tfembed.data import class_balanced
from tfembed.data.array_split import ArraySplit, numbered_names


def made_labels(sizes=(40, 25, 17, 12, 9, 8, 5, 3, 2, 1), seed=0):
    labels = np.repeat(np.arange(len(sizes)) * 10, sizes)
    return np.random.default_rng(seed).permutation(labels)


def listed(dataset):
    return list(dataset.as_numpy_iterator())


def ids_of(dataset):
    return [batch["ids"].tolist() for batch in listed(dataset)]


@pytest.mark.parametrize(("classes", "samples"), [(4, 5), (3, 2), (10, 1), (1, 7)])
def test_every_batch_has_p_classes_with_k_samples(classes, samples):
    labels = made_labels()
    dataset = class_balanced(labels, classes, samples, seed=1, last_epoch=3)
    size = classes * samples
    assert len(dataset) == 3 * (len(labels) // size)
    assert dataset.element_spec["ids"].shape == (size,)
    sizes = collections.Counter(labels.tolist())
    for batch in listed(dataset):
        ids, found = batch["ids"], batch["labels"]
        assert ids.dtype == found.dtype == np.int64
        np.testing.assert_array_equal(labels[ids], found)
        groups = found.reshape(classes, samples)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == classes
        for label, rows in zip(groups[:, 0], ids.reshape(classes, samples)):
            times = collections.Counter(rows.tolist())
            own = sizes[label]
            if own >= samples:
                assert max(times.values()) == 1
            else:  # topped up evenly
                assert len(times) == own
                assert max(times.values()) - min(times.values()) <= 1


def test_classes_take_turns():
    labels = made_labels()
    batches = listed(class_balanced(labels, 3, 2, seed=2, steps_per_epoch=12))
    for start in range(0, 12, 3):  # 10 classes: three batches and a rest of one
        shown = [set(batch["labels"]) for batch in batches[start : start + 3]]
        assert len(set.union(*shown)) == 9
    assert len({tuple(batch["labels"]) for batch in batches}) == 12


def test_a_class_gives_all_its_rows_before_it_starts_over():
    labels = np.repeat(np.arange(4), [12, 12, 6, 3])
    batches = listed(class_balanced(labels, 4, 3, seed=0, steps_per_epoch=4))
    times = collections.Counter(np.concatenate([b["ids"] for b in batches]).tolist())
    for label, each in [(0, 1), (1, 1), (2, 2), (3, 4)]:
        assert [times[row] for row in np.flatnonzero(labels == label)] == [each] * (
            labels == label
        ).sum()


def test_epochs_differ_and_seeds_differ_and_repeat():
    labels = made_labels()
    one = ids_of(class_balanced(labels, 4, 4, seed=5, last_epoch=2))
    assert one == ids_of(class_balanced(labels, 4, 4, seed=5, last_epoch=2))
    assert one != ids_of(class_balanced(labels, 4, 4, seed=6, last_epoch=2))
    assert one[: len(one) // 2] != one[len(one) // 2 :]


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 4), (1, 0), (2, 5), (3, 0)])
def test_a_run_resumes_at_any_step(epoch, step):
    labels = made_labels()
    given = {"seed": 3, "last_epoch": 3}
    whole = ids_of(class_balanced(labels, 4, 4, **given))
    rest = class_balanced(
        labels, 4, 4, first_epoch=epoch, first_step=step, steps_per_epoch=7, **given
    )
    assert len(whole) == 21
    assert len(rest) == max(0, 21 - 7 * epoch - step)
    assert ids_of(rest) == whole[7 * epoch + step :]


def test_string_labels_follow_the_integers():
    labels = made_labels()
    names = np.array([f"class {label:03d}" for label in labels])
    for strings in (names, names.tolist(), names.astype("S"), names.astype(object)):
        found = listed(class_balanced(strings, 4, 4, seed=1))
        expected = listed(class_balanced(labels, 4, 4, seed=1))
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one["ids"], other["ids"])
            assert one["labels"].tolist() == [
                f"class {label:03d}".encode() for label in other["labels"]
            ]


@pytest.mark.slow
def test_orders_are_uniform():
    """Each row comes equally often at each place, after each other row."""
    labels = np.repeat(np.arange(2), 4)
    dataset = class_balanced(labels, 1, 4, seed=0, last_epoch=3000, steps_per_epoch=2)
    orders = np.array([b["ids"] for b in dataset.as_numpy_iterator()])
    first = orders[orders.max(1) < 4]
    assert len(first) == 3000
    counts = collections.Counter(map(tuple, first.tolist()))
    assert len(counts) == 24
    expected = 3000 / 24
    chi = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi < 49.7  # 23 degrees of freedom, one in a thousand


def split_of(labels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), 4, 4, 3)).astype("uint8")
    return ArraySplit(images, labels, numbered_names("made", "train", len(labels)))


@pytest.mark.parametrize("lanes", [1, 3])
def test_images_of_a_split_are_read_and_augmented_by_step(lanes):
    labels = made_labels()
    split = split_of(labels)
    given = {"seed": 4, "read": split, "lanes": lanes, "last_epoch": 2}

    def noisy(images, seed):
        return images + tf.random.stateless_uniform([1, 4, 4, 3], seed)

    whole = listed(class_balanced(labels, 4, 4, augmentation=noisy, **given))
    plain = listed(class_balanced(labels, 4, 4, **given))
    noises = set()
    for one, other in zip(whole, plain):
        assert other["images"].dtype == np.float32
        np.testing.assert_array_equal(other["images"], split.read(other["ids"]))
        np.testing.assert_array_equal(labels[one["ids"]], one["labels"])
        noises.add(float((one["images"] - other["images"])[0, 0, 0, 0]))
    assert len(noises) == len(whole) == 14
    resumed = class_balanced(
        labels, 4, 4, augmentation=noisy, first_epoch=1, first_step=2, **given
    )
    for one, other in zip(listed(resumed), whole[9:]):
        np.testing.assert_array_equal(one["images"], other["images"])


def test_rows_are_read_when_their_batch_is_due():
    asked = []

    def from_disk(ids):
        asked.append(ids)
        return np.float32(ids)[:, None] * [1, 2]

    def read(ids):
        rows = tf.numpy_function(from_disk, [ids], tf.float64)
        return {"features": tf.ensure_shape(rows, [8, 2])}

    dataset = class_balanced(made_labels(), 4, 2, seed=0, read=read, last_epoch=9)
    for number, batch in enumerate(dataset.as_numpy_iterator()):
        np.testing.assert_array_equal(batch["features"][:, 1], 2 * batch["ids"])
        if number == 2:
            break
    assert len(asked) <= 3 + 4


def test_replicas_share_the_one_order_of_batches(strategy):
    labels = made_labels()
    dataset = class_balanced(labels, 4, 3, seed=2)
    expected = ids_of(dataset)
    found = []
    for batch in strategy.experimental_distribute_dataset(dataset):
        parts = strategy.experimental_local_results(batch["ids"])
        assert [len(part) for part in parts] == [6, 6]
        found.append(np.concatenate([part.numpy() for part in parts]).tolist())
    assert found == expected


def test_a_million_rows_of_a_hundred_thousand_classes_are_quick():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 100_000, 1_000_000)
    for each in (labels, labels.astype("U6")):
        start = time.process_time()
        dataset = class_balanced(each, 64, 4, seed=0)
        batches = listed(dataset.take(200))
        assert len(batches) == 200
        # 2 to 4 s of processor time; a dataset a class takes minutes.
        assert time.process_time() - start < 20
    assert len(dataset) == 3906


def test_one_large_class_among_small_ones():
    labels = np.array([0] * 300_000 + [1, 2, 3])
    for batch in listed(class_balanced(labels, 4, 2, seed=0, steps_per_epoch=5)):
        assert sorted(set(batch["labels"])) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"classes": 0}, "classes"),
        ({"classes": 11}, "classes"),
        ({"samples": 0}, "samples"),
        ({"samples": 1.5}, "samples"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"first_epoch": -1}, "first_epoch"),
        ({"first_epoch": 2}, "first_epoch"),
        ({"first_step": 7}, "first_step"),
        ({"lanes": 0}, "lanes"),
        ({"labels": np.zeros((3, 2), int)}, "labels"),
        ({"labels": np.zeros(3)}, "labels"),
        ({"labels": []}, "labels"),
    ],
)
def test_what_is_out_of_range_is_named(arguments, name):
    given = {"labels": made_labels(), "classes": 4, "samples": 4, "seed": 0}
    with pytest.raises(ValueError, match=f"`{name}`.*Received"):
        class_balanced(**{**given, **arguments})


def test_a_split_of_another_size_is_refused():
    with pytest.raises(ValueError, match="one image for each label.*Received"):
        class_balanced([0, 1], 2, 1, seed=0, read=split_of(made_labels()))


def seen_by_fit(batches, **arguments):
    """Returns the ids of each step of a fit, in Keras' hands."""
    from tensorflow import keras

    seen = []

    def remember(y_true, y_pred):
        seen.append(y_true.numpy().astype(int).ravel().tolist())
        return tf.reduce_mean(y_pred, axis=-1)

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", remember, run_eagerly=True)
    data = batches.map(lambda batch: (tf.zeros([4, 1]), batch["ids"][:, None]))
    model.fit(data, verbose=0, **arguments)
    return seen


@pytest.mark.parametrize("kind", ["class_balanced", "Split.epochs"])
def test_each_of_keras_epochs_has_its_own_batches(kind):
    labels = made_labels((4, 4, 4))
    images = np.zeros((12, 2, 2, 1), np.uint8)
    split = ArraySplit(images, labels, numbered_names("made", "train", 12))

    def batches(first, last):
        if kind == "Split.epochs":
            return split.epochs(4, 7, first, last)
        return class_balanced(
            labels, 2, 2, seed=7, first_epoch=first, last_epoch=last, steps_per_epoch=3
        )

    whole = ids_of(batches(0, 3))
    assert whole[:3] != whole[3:6] != whole[6:]
    endless = batches(0, None)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    assert seen_by_fit(endless, epochs=3, steps_per_epoch=3) == whole
    resumed = {"initial_epoch": 2, "epochs": 3, "steps_per_epoch": 3}
    assert seen_by_fit(batches(2, None), **resumed) == whole[6:]
    assert seen_by_fit(batches(0, 1), epochs=3) == whole[:3] * 3  # as documented


def test_batches_without_end_are_shared_by_replicas(strategy):
    batches = class_balanced(made_labels((4, 4)), 2, 2, seed=7, last_epoch=None)
    shared = iter(strategy.experimental_distribute_dataset(batches))
    for expected in ids_of(batches.take(5)):
        parts = strategy.experimental_local_results(next(shared)["ids"])
        assert np.concatenate([each.numpy() for each in parts]).tolist() == expected
