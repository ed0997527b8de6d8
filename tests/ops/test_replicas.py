"""Gathering over replicas, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.ops import replicas

ROWS = np.arange(20, dtype="float32").reshape(10, 2)


def on_replicas(strategy, function, first=6):
    """Runs `function(rows of the replica)`; returns the results of all, in order."""
    parts = [ROWS[:first], ROWS[first:]]
    placed = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    results = tf.function(lambda x: strategy.run(function, (x,)))(placed)
    return [value.numpy() for value in strategy.experimental_local_results(results)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool"])
def test_everyone_gets_all_rows(strategy, dtype):
    for found in on_replicas(
        strategy,
        lambda x: tf.cast(replicas.gather(tf.cast(x, dtype))[0], tf.float32),
    ):
        np.testing.assert_array_equal(found, np.float32(tf.cast(ROWS, dtype)))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: tf.reduce_sum(x**2),
        lambda x: tf.reduce_sum(tf.gather(x, [7, 0, 7]) ** 2),  # some rows alone
    ],
    ids=["all rows", "some rows"],
)
def test_gradient_is_that_of_the_sum_of_the_replicas_losses(strategy, loss):
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(replicas.gather(x)[0])
        return tape.gradient(value, x)

    found = np.concatenate(on_replicas(strategy, gradient))
    x = tf.constant(ROWS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    expected = tf.convert_to_tensor(tape.gradient(value, x)).numpy()
    np.testing.assert_allclose(found, 2 * expected)  # two replicas, the same loss


def test_total_and_position(strategy):
    totals = on_replicas(strategy, lambda x: replicas.total(tf.reduce_sum(x)))
    np.testing.assert_allclose(totals, 2 * [ROWS.sum()])
    starts = on_replicas(strategy, lambda x: replicas.position(tf.shape(x)[0])[0])
    np.testing.assert_array_equal(starts, [0, 6])


@pytest.mark.parametrize("first", [6, 9])
def test_the_mean_over_an_uneven_batch_is_that_of_the_batch(strategy, first):
    """As Keras means: over a replica's rows, divided by the number of replicas."""

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = replicas.global_batch_mean(x[:, 0] ** 2)
            value = tf.reduce_mean(losses) / 2
        return tf.concat([losses[:, None], tape.gradient(value, x)], axis=1)

    found = np.concatenate(on_replicas(strategy, step, first))
    np.testing.assert_allclose(found[:, 0], ROWS[:, 0] ** 2)  # what is reported
    np.testing.assert_allclose(found[:, 1], 2 * ROWS[:, 0] / len(ROWS), rtol=1e-6)


@pytest.mark.parametrize("first", [6, 9])
def test_an_added_mean_is_that_of_the_batch_on_each_replica(strategy, first):
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            mean = replicas.mean_over_batch(x[:, 0] ** 2)
            value = mean / 2  # as Keras divides it
        gradient = tape.gradient(value, x)[:, 0]
        return tf.stack([tf.ones_like(gradient) * mean, gradient], axis=1)

    found = np.concatenate(on_replicas(strategy, step, first))
    np.testing.assert_allclose(found[:, 0], np.mean(ROWS[:, 0] ** 2), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], 2 * ROWS[:, 0] / len(ROWS), rtol=1e-6)
