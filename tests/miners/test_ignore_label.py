"""What a miner ignores is as if it were not there, whichever loss it mines for."""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf
from losses.test_ignore_label import with_ignored
from losses.test_loss_contracts import value_and_gradient
from miners.test_miners import SAMPLES, batch
from tensorflow import keras

from tfembed import layers, losses, miners, weighting
from tfembed.ops.pairs import Similarities

every = pytest.mark.parametrize(
    "make",
    [
        pytest.param(samples[0][0], id=kind.__name__)
        for kind, samples in SAMPLES.items()
    ],
)


def ignoring(make, label=-1):
    """The sample's miner, which ignores a label."""
    miner = make()
    return type(miner)(**{**miner.get_config(), "ignore_label": label})


def taking_miners():
    """Makers of every public loss that takes a miner, and of the loss from weights."""
    makers = [
        pytest.param(getattr(losses, name), id=name)
        for name in losses.__all__
        if "miner" in inspect.signature(getattr(losses, name)).parameters
        and isinstance(getattr(losses, name), type)
    ]
    assert len(makers) > 15

    def of_weights(miner):
        return weighting.PairWeighted(weighting.ContrastiveWeights(), mining=miner)

    return [*makers, pytest.param(of_weights, id="PairWeighted")]


def same_as_without(loss, alone, labels, x):
    """Compares the mean and its gradient with those of the batch without the rows."""
    more_labels, more, kept = with_ignored(labels, x)
    values, slopes = value_and_gradient(loss, more_labels, more)
    right, right_slopes = value_and_gradient(alone, labels, x)
    np.testing.assert_allclose(values.mean(), right.mean(), rtol=1e-9)
    np.testing.assert_allclose(
        slopes[kept] / len(kept), right_slopes / len(x), rtol=1e-8, atol=1e-11
    )
    assert not np.any(slopes[~kept])
    return more_labels, more, right


@pytest.mark.thin(4)
@every
@pytest.mark.parametrize("row_chunk", [None, 5])
def test_equals_the_batch_without_those_rows(make, row_chunk):
    labels, x = batch(12)
    for loss in (
        functools.partial(losses.Contrastive, row_chunk=row_chunk),
        functools.partial(losses.IntraPairVariance, row_chunk=row_chunk),
        functools.partial(losses.HardNet, row_chunk=row_chunk),
    ):
        same_as_without(loss(miner=ignoring(make)), loss(miner=make()), labels, x)


@pytest.mark.thin(4)
@pytest.mark.parametrize("loss", taking_miners())
def test_every_loss_that_takes_a_miner(loss):
    labels, x = batch(12)
    make = miners.AllValidMiner
    compiled = loss(miner=ignoring(make))
    more_labels, more, right = same_as_without(compiled, loss(miner=make()), labels, x)
    found = float(compiled(more_labels, np.float32(more)))
    np.testing.assert_allclose(found, right.mean(), rtol=2e-4, atol=2e-5)
    nothing = np.full(4, -1)
    values, slopes = value_and_gradient(compiled, nothing, x[:4])
    assert not values.any() and not slopes.any()


@pytest.mark.thin(3)
@every
def test_two_replicas_equal_one(make, strategy):
    labels, x, _ = with_ignored(*batch(12))
    parts = [slice(0, 6), slice(6, None)]

    def place(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[parts[context.replica_id_in_sync_group]])
        )

    for kind in (losses.IntraPairVariance, losses.HardNet):
        loss = kind(miner=ignoring(make))

        @tf.function
        def step(labels, x, loss=loss):
            return strategy.run(lambda y, x: loss.per_row(y, x), (labels, x))

        rows = strategy.experimental_local_results(step(place(labels), place(x)))
        np.testing.assert_allclose(
            np.concatenate(rows), loss.per_row(labels, x), rtol=1e-7, atol=1e-9
        )


def test_references_queues_strings_similarities_and_xla():
    labels, x = batch(12)
    ref_labels, refs = batch(9, seed=2)
    more_labels, more, kept = with_ignored(labels, x)
    more_refs = with_ignored(ref_labels, refs)[:2]
    loss = losses.Contrastive(miner=miners.HardMiner(ignore_label=-1))
    alone = losses.Contrastive(miner=miners.HardMiner())
    right = alone.per_row(labels, x, ref_labels, refs)
    found = loss.per_row(more_labels, more, *more_refs).numpy()
    np.testing.assert_allclose(found.mean(), np.mean(right), rtol=1e-9)
    assert not found[~kept].any()
    right = np.mean(alone.per_row(labels, x))
    compiled = tf.function(loss.per_row, jit_compile=True)
    found = compiled(tf.constant(more_labels), tf.constant(more))
    np.testing.assert_allclose(np.mean(found), right, rtol=1e-6)
    words = np.where(kept, np.char.add("class ", more_labels.astype(str)), "none")
    by_name = losses.Contrastive(miner=miners.HardMiner(ignore_label="none"))
    np.testing.assert_allclose(np.mean(by_name.per_row(words, more)), right, rtol=1e-9)
    cosine = functools.partial(losses.Contrastive, form="cosine")
    unit = more / np.linalg.norm(more, axis=1, keepdims=True)
    found = cosine(miner=miners.HardMiner(ignore_label=-1)).per_row(
        more_labels, Similarities(unit @ unit.T)
    )
    right = cosine(miner=miners.HardMiner()).per_row(labels, x)
    np.testing.assert_allclose(np.mean(found), np.mean(right), rtol=1e-9)
    queue = layers.CrossBatch(loss, 32)
    inputs = [tf.constant(np.float32(more)), tf.constant(more_labels)]
    queue(inputs, training=True)
    np.testing.assert_allclose(
        float(queue.losses[0]), np.mean(alone.per_row(labels, x)), rtol=1e-4
    )


@pytest.mark.parametrize("beta_weight", [0.0, 0.3])
def test_the_margin_layer(beta_weight):
    labels, x = batch(12)
    more_labels, more, _ = with_ignored(labels, x)

    def added(labels, x, **options):
        layer = layers.Margin(
            miner=miners.HardMiner(**options), beta_weight=beta_weight
        )
        layer([tf.constant(np.float32(x)), tf.constant(labels)])
        return float(layer.losses[0])

    found = added(more_labels, more, ignore_label=-1)
    np.testing.assert_allclose(found, added(labels, x), rtol=1e-5)


@every
def test_configs_and_kinds(make):
    miner = ignoring(make, "none")
    wire = keras.losses.deserialize(
        keras.losses.serialize(losses.Contrastive(miner=miner))
    )
    assert wire.miner.ignore_label == "none"
    labels, x = batch(6)
    with pytest.raises(ValueError, match="of the labels' kind.*Received.*int32"):
        losses.Contrastive(miner=miner).per_row(np.int32(labels), x)
    with pytest.raises(ValueError, match="of the labels' kind.*Received.*string"):
        losses.Contrastive(ignore_label=-1).per_row(labels.astype(str), x)


def test_a_users_own_miner_and_loss_may_take_any_keywords():
    class Own(miners.TopKMiner):
        def __init__(self, positives, **options):
            super().__init__(positives, **options)

    class OwnLoss(losses.Contrastive):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)

    for kind, arguments in ((Own, [2]), (OwnLoss, [])):
        made = kind(*arguments, ignore_label=-1)
        assert made.get_config()["ignore_label"] == -1
        assert kind(*arguments).get_config()["ignore_label"] is None
