"""The queue against a list of rows: order, wrap-around, and what does not count."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers import FeatureQueue
from tfembed.losses import contrastive

DIM = 3


def contents(queue):
    """Labels and rows that count, oldest first."""
    labels, references = queue.read()
    place = compat.number(queue.place)
    order = (place + np.arange(queue.size)) % queue.size
    order = order[references.present.numpy()[order]]
    return labels.numpy()[order], references.embeddings.numpy()[order]


@pytest.mark.parametrize("size", [1, 7, 16])
@pytest.mark.parametrize("graph", [False, True])
def test_many_random_writes_against_a_list(size, graph):
    rng = np.random.default_rng(size)
    queue, expected = FeatureQueue(size, DIM), collections.deque(maxlen=size)
    queue.build()
    rows = tf.TensorSpec([None, DIM]), tf.TensorSpec([None], tf.int64)
    write = tf.function(queue.write, input_signature=rows) if graph else queue.write
    steps = 0
    for _ in range(25):
        rows = int(rng.integers(0, 2 * size + 3))  # none, and more than fit
        x = rng.normal(size=(rows, DIM)).astype("float32")
        labels = rng.integers(-5, 5, rows)
        write(tf.constant(x), tf.constant(labels))
        expected.extend(zip(labels, x))
        steps += rows > 0
        found_labels, found = contents(queue)
        assert found_labels.tolist() == [label for label, _ in expected]
        if expected:
            np.testing.assert_array_equal(found, np.stack([x for _, x in expected]))
    assert compat.number(queue.steps) == steps


def test_layer_writes_in_training_alone(run):
    queue = FeatureQueue(4, DIM)
    x, labels = tf.ones([2, DIM]), tf.constant([1, 2])
    for training, count in [(False, 0), (None, 0), (True, 2), (False, 2), (True, 4)]:
        out = run(lambda x, y, t=training: queue([x, y], training=t), x, labels)  # noqa: B023
        np.testing.assert_array_equal(out, x)
        assert len(contents(queue)[0]) == count


def test_empty_slots_are_no_references():
    queue = FeatureQueue(50, DIM)
    rng = np.random.default_rng(0)
    old, x = rng.normal(size=(2, 6, DIM)).astype("float32")
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert not np.any(contrastive(labels, x, *queue.read()))
    queue.write(old, labels)
    np.testing.assert_allclose(
        contrastive(labels, x, *queue.read()),
        contrastive(labels, x, labels, old),
        rtol=1e-5,
    )


def test_warm_up_counts_writes():
    queue = FeatureQueue(4, DIM, warmup_steps=2)
    for step in range(4):
        assert len(contents(queue)[0]) == (step if step >= 2 else 0)
        queue.write(np.ones((1, DIM)), [step])
    assert contents(queue)[0].tolist() == [0, 1, 2, 3]


def test_a_broken_embedding_is_not_remembered():
    queue = FeatureQueue(4, DIM)
    queue.write([[1, 2, 3], [np.nan, 0, 0], [np.inf, 0, 0], [4, 5, 6]], [1, 2, 3, 4])
    labels, rows = contents(queue)
    assert labels.tolist() == [1, 4]
    np.testing.assert_array_equal(rows, [[1, 2, 3], [4, 5, 6]])
    assert np.isfinite(queue.read()[1].embeddings).all()


@pytest.mark.parametrize("size", [1, 3, 4, 7, 20])
def test_broken_embeddings_take_no_slot(size, rng):
    queue, other = FeatureQueue(size, DIM), FeatureQueue(size, DIM)
    for step in range(6):
        rows = rng.integers(0, 8)
        x = np.float32(rng.normal(size=(rows, DIM)))
        broken = rng.random(rows) < 0.4
        x[broken, rng.integers(0, DIM)] = rng.choice([np.nan, np.inf, -np.inf])
        labels = np.arange(rows) + 10 * step
        queue.write(x, labels)
        if not rows or not broken.all():
            other.write(x[~broken], labels[~broken])
        for one, two in zip(queue.get_weights(), other.get_weights()):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("rows", [0, 3, 4, 9])
def test_fill(rows):
    queue = FeatureQueue(4, DIM)
    x = np.arange(rows * DIM, dtype="float32").reshape(rows, DIM)
    queue.fill(x, np.arange(rows))
    labels, found = contents(queue)
    assert labels.tolist() == list(range(rows))[-4:]
    np.testing.assert_array_equal(found, x[-4:])
    queue.write(np.ones((1, DIM)), [99])
    assert contents(queue)[0].tolist() == [*range(rows), 99][-4:]


def test_overwritten_tells_where_the_next_rows_go():
    queue = FeatureQueue(5, DIM)
    queue.write(np.ones((3, DIM)), [1, 2, 3])
    assert np.flatnonzero(queue.overwritten(3)).tolist() == [0, 3, 4]
    assert np.asarray(queue.overwritten(9)).all()
    assert not np.asarray(queue.overwritten(0)).any()


def test_labels_of_every_kind():
    for labels in (["a", "b"], [[1], [2]], [True, False], np.array([2**40, 2**40 + 1])):
        queue = FeatureQueue(4, DIM)
        queue.write(np.ones((2, DIM)), labels)
        found = contents(queue)[0]
        assert len(found) == 2 and found[0] != found[1]
    for labels in (np.float32([1, 2]), np.float16([1, 2])):
        with pytest.raises(TypeError, match="Received: labels of dtype float"):
            FeatureQueue(4, DIM).write(np.ones((2, DIM)), labels)
    with pytest.raises(TypeError, match="Received: labels of dtype float"):
        FeatureQueue(4, DIM)([keras.Input((DIM,)), keras.Input(())])


def test_half_floats_are_remembered_as_float32():
    keras.mixed_precision.set_global_policy("mixed_float16")
    queue = FeatureQueue(4, DIM)
    out = queue([tf.ones([2, DIM], tf.float16), tf.constant([1, 2])], training=True)
    assert out.dtype == tf.float16
    assert queue.read()[1].embeddings.dtype == tf.float32
    assert len(contents(queue)[0]) == 2


@pytest.mark.parametrize("rows", [8, 7], ids=["even", "uneven"])
def test_two_replicas_remember_as_one(rows, strategy):
    rng = np.random.default_rng(3)
    single = FeatureQueue(11, DIM)
    with strategy.scope():
        double = FeatureQueue(11, DIM)
        double.build()

    @tf.function
    def write(x, labels):
        strategy.run(double.write, (x, labels))

    for _ in range(4):
        x = rng.normal(size=(rows, DIM)).astype("float32")
        labels = rng.integers(0, 9, rows)
        single.write(x, labels)
        parts = [slice(0, 4), slice(4, rows)]
        write(
            *[
                strategy.experimental_distribute_values_from_function(
                    lambda context, array=array: tf.constant(
                        array[parts[context.replica_id_in_sync_group]]  # noqa: B023
                    )
                )
                for array in (x, labels)
            ]
        )
    for one, two in zip(single.weights, double.weights):
        copies = strategy.experimental_local_results(compat.variable(two))
        assert len(copies) == 2
        for copy in copies:
            np.testing.assert_array_equal(compat.variable(one).numpy(), copy.numpy())


@pytest.mark.parametrize(
    "arguments", [{"size": 0}, {"size": 2.5}, {"dim": 0}, {"warmup_steps": -1}]
)
def test_bad_arguments_get_a_sentence(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
        FeatureQueue(**{"size": 4, "dim": 2, **arguments})
