"""Rows of an ignored label are as if they were not there."""

import numpy as np
import pytest
import tensorflow as tf
from losses.test_loss_contracts import FIRST, batch_for, value_and_gradient
from tensorflow import keras

from tfembed import layers, losses, miners
from tfembed.ops.pairs import References, Similarities

every = pytest.mark.parametrize("sample", FIRST)


def with_ignored(labels, x, ignored=-1, rows=(0, 3, 4, 9)):
    """The batch with rows of the ignored label put in; and which were there before."""
    rng = np.random.default_rng(0)
    count = len(labels) + len(rows)
    kept = np.ones(count, bool)
    kept[list(rows)] = False
    more = rng.uniform(-0.9, 0.9, (count, x.shape[1]))
    more[kept] = x
    all_labels = np.full(count, ignored, labels.dtype)
    all_labels[kept] = labels
    return all_labels, more, kept


@every
def test_equals_the_batch_without_those_rows(sample):
    labels, x, ref_labels, refs = batch_for(sample, 12, 7)
    more_labels, more, kept = with_ignored(labels, x)
    loss = sample.make(ignore_label=-1)
    expected = value_and_gradient(sample.make(), labels, x)
    for found, right in zip(value_and_gradient(loss, more_labels, more), expected):
        np.testing.assert_allclose(found[kept], right, rtol=1e-9, atol=1e-11)
        assert not np.any(found[~kept])
    np.testing.assert_allclose(
        loss(more_labels, np.float32(more)), expected[0].mean(), rtol=2e-4, atol=2e-5
    )
    if sample.references:
        found = loss.per_row(more_labels, more, *with_ignored(ref_labels, refs)[:2])
        right = sample.make().per_row(labels, x, ref_labels, refs)
        np.testing.assert_allclose(found[kept], right, rtol=1e-9, atol=1e-11)
    nothing = np.full(3, -1)
    assert float(loss(nothing, np.float32(more[:3]))) == 0
    assert type(loss).from_config(loss.get_config()).ignore_label == -1


@every
@pytest.mark.thin(3)
def test_two_replicas_equal_one(sample, strategy):
    labels, x, _, _ = batch_for(sample, 12, 11)
    labels, x, _ = with_ignored(labels, np.float32(x))
    x = np.float32(x)
    loss = sample.make(ignore_label=-1)
    parts = [slice(0, 7), slice(7, None)]

    def place(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[parts[context.replica_id_in_sync_group]])
        )

    @tf.function
    def step(labels, x):
        return strategy.run(lambda y, x: loss.per_row(y, x), (labels, x))

    rows = strategy.experimental_local_results(step(place(labels), place(x)))
    np.testing.assert_allclose(
        np.concatenate(rows), loss.per_row(labels, x), rtol=1e-4, atol=1e-5
    )


def test_fit_on_two_replicas_trains_and_reports_as_one(strategy):
    loss = losses.MultiSimilarity
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.9, 0.9, size=(11, 5)).astype("float32")
    labels = np.array([-1, -1, -1, 0, -1, 1, 0, 1, -1, 1, 1])
    data = tf.data.Dataset.from_tensor_slices((x, labels)).batch(11)

    def trained():
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(5, kernel_initializer="identity")]
        )
        model.compile(keras.optimizers.SGD(0.1), loss(ignore_label=-1))
        return model

    single = trained()
    with strategy.scope():
        double = trained()
    kept = labels >= 0
    expected = float(loss()(labels[kept], x[kept]))
    reported = single.fit(data, verbose=0).history["loss"][0]
    assert reported == pytest.approx(expected, rel=1e-5)
    even = data.unbatch().take(10).batch(10)
    np.testing.assert_allclose(
        single.evaluate(even, verbose=0),
        float(loss()(labels[:10][kept[:10]], single(x[:10][kept[:10]]))),
        rtol=1e-4,
    )
    double.set_weights(single.get_weights())
    ends = [
        (model.fit(even, verbose=0).history["loss"], model.get_weights())
        for model in (single, double)
    ]
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-5)
    for one, two in zip(ends[0][1], ends[1][1]):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("miner", list(miners.__all__))
def test_miners_see_what_remains(miner):
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    more_labels, more, kept = with_ignored(labels, x)
    miner = miners.TopKMiner(2) if miner == "TopKMiner" else getattr(miners, miner)()
    found = losses.Contrastive(miner=miner, ignore_label=-1).per_row(more_labels, more)
    right = losses.Contrastive(miner=miner).per_row(labels, x)
    np.testing.assert_allclose(found[kept], right, rtol=1e-9, atol=1e-11)


def test_strings_references_and_similarities():
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    more_labels, more, kept = with_ignored(labels, x)
    right = losses.MultiSimilarity().per_row(labels, x)
    words = np.where(kept, np.char.add("class ", more_labels.astype(str)), "none")
    loss = losses.MultiSimilarity(ignore_label="none")
    np.testing.assert_allclose(loss.per_row(words, more)[kept], right, rtol=1e-9)
    loss = losses.MultiSimilarity(ignore_label=-1)
    unit = more / np.linalg.norm(more, axis=1, keepdims=True)
    found = loss.per_row(more_labels, Similarities(unit @ unit.T))
    np.testing.assert_allclose(found[kept], right, rtol=1e-9)
    itself = References(more, own=tf.range(len(more)))
    found = loss.per_row(more_labels, more, more_labels, itself)
    np.testing.assert_allclose(found[kept], right, rtol=1e-9)


def test_sample_weights_and_sums():
    labels, x, _, _ = batch_for(FIRST[0].values[0], 12, 7)
    more_labels, more, kept = with_ignored(labels, np.float32(x))
    weights = np.float32(np.random.default_rng(0).uniform(size=len(more)))
    rows = losses.MultiSimilarity().per_row(labels, x).numpy()
    for reduction, reduced in (("sum", np.sum), ("sum_over_batch_size", np.mean)):
        loss = losses.MultiSimilarity(reduction=reduction, ignore_label=-1)
        found = loss(more_labels, np.float32(more), sample_weight=weights)
        np.testing.assert_allclose(found, reduced(rows * weights[kept]), rtol=1e-4)


def test_a_queue_refuses_it():
    with pytest.raises(ValueError, match="no `ignore_label`.*Received"):
        layers.CrossBatch(losses.MultiSimilarity(ignore_label=-1), size=8)
