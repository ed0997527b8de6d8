"""What every miner must satisfy: its own sentence by plain loops, and no state."""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import losses, miners
from tfembed.miners.base import Miner
from tfembed.ops.pairs import Similarities, over_pairs


def all_valid(d, s, p, n):
    return (p, n) if p and n else ([], [])


def hard(d, s, p, n):
    if not p or not n:
        return [], []
    return [max(p, key=lambda j: d[j])], [min(n, key=lambda j: d[j])]


def top_k(positives, negatives, d, s, p, n):
    p = sorted(p, key=lambda j: -d[j])[:positives]
    return p, sorted(n, key=lambda j: d[j])[:negatives]


def semi_hard(margin, power, d, s, p, n):
    d = np.power(d, power)
    inside = [(i, j) for i in p for j in n if d[i] < d[j] < d[i] + margin]
    return [i for i, _ in inside], [j for _, j in inside]


def multi_similarity(epsilon, d, s, p, n):
    if not p or not n:
        return [], []
    return (
        [j for j in p if s[j] < max(s[n]) + epsilon],
        [j for j in n if s[j] > min(s[p]) - epsilon],
    )


# Each: maker, and `oracle(distances, similarities, positives, negatives)`, what of an
# anchor's pairs is kept. `None` for draws.
SAMPLES = {
    miners.AllValidMiner: [(miners.AllValidMiner, all_valid)],
    miners.HardMiner: [(miners.HardMiner, hard)],
    miners.TopKMiner: [
        (lambda: miners.TopKMiner(2), functools.partial(top_k, None, 2)),
        (lambda: miners.TopKMiner(None, 1), functools.partial(top_k, 1, None)),
        (lambda: miners.TopKMiner(99, 99), functools.partial(top_k, 99, 99)),
    ],
    miners.SemiHardMiner: [
        (lambda: miners.SemiHardMiner(0.7), functools.partial(semi_hard, 0.7, 2)),
        (
            lambda: miners.SemiHardMiner(0.3, "euclidean"),
            functools.partial(semi_hard, 0.3, 1),
        ),
    ],
    miners.MultiSimilarityMiner: [
        (miners.MultiSimilarityMiner, functools.partial(multi_similarity, 0.1))
    ],
    miners.DistanceWeightedMiner: [(miners.DistanceWeightedMiner, None)],
}
every = pytest.mark.parametrize(
    ("make", "oracle"),
    [
        pytest.param(*sample, id=f"{miner.__name__}-{number}")
        for miner, samples in SAMPLES.items()
        for number, sample in enumerate(samples)
    ],
)


def batch(rows=14, seed=0, dim=4, classes=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, dim))
    return rng.integers(0, classes, rows), x / np.linalg.norm(x, axis=1, keepdims=True)


def masks(miner, labels, x, ref_labels=None, refs=None, row_chunk=None):
    """The pairs that stay, positives and negatives, `(rows, refs)`."""
    blocks = []

    def rows(pairs):
        blocks.append((pairs.positive, pairs.negative))
        return tf.zeros(tf.shape(pairs.positive)[0])

    settings = {"normalize": False, "miner": miner, "row_chunk": row_chunk}
    over_pairs(rows, labels, x, ref_labels, refs, **settings)
    return [np.concatenate(kind)[: len(x)] for kind in zip(*blocks)]


def value_and_gradient(loss, labels, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = loss.per_row(labels, x)
        total = tf.reduce_sum(rows)
    return rows, tape.gradient(total, x)


def test_every_miner_has_a_sample():
    assert {getattr(miners, name) for name in miners.__all__} == set(SAMPLES)


@every
@pytest.mark.parametrize("seed", range(2))
def test_keeps_what_it_says(make, oracle, seed):
    labels, x = batch(seed=seed)
    positive, negative = masks(make(), labels, x)
    same = labels[:, None] == labels[None, :]
    assert not np.any(positive & ~same) and not np.any(negative & same)
    assert not np.any(np.diag(positive))
    if oracle is None:
        return
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        p, n = oracle(
            np.linalg.norm(x - x[i], axis=1),
            x @ x[i],
            [j for j in others if labels[j] == labels[i]],
            [j for j in others if labels[j] != labels[i]],
        )
        np.testing.assert_array_equal(np.flatnonzero(positive[i]), sorted(set(p)))
        np.testing.assert_array_equal(np.flatnonzero(negative[i]), sorted(set(n)))


@every
def test_only_the_pairs_matter(make, oracle):
    labels, x = batch(12)
    whole = masks(make(), labels, x)
    for one, other in zip(masks(make(), labels, x, row_chunk=5), whole):
        np.testing.assert_array_equal(one, other)
    order = np.random.default_rng(0).permutation(12)
    for one, other in zip(masks(make(), labels[order], x[order]), whole):
        np.testing.assert_array_equal(one, other[order][:, order])
    similarities = Similarities(x @ x.T, of=x)
    given = losses.Contrastive(miner=make(), form="cosine")
    np.testing.assert_allclose(
        given.per_row(labels, similarities), given.per_row(labels, x), atol=1e-12
    )


@every
def test_against_references(make, oracle):
    labels, x = batch(9, seed=1)
    ref_labels, refs = batch(16, seed=2)
    positive, negative = masks(make(), labels, x, ref_labels, refs)
    assert positive.shape == (9, 16) and positive.any() and negative.any()


@pytest.mark.thin(2)
@every
def test_eager_graph_xla_and_replicas_agree(make, oracle, strategy):
    labels, x = batch(10)
    x = np.float32(x)
    loss = losses.Contrastive(margin=1.5, miner=make())
    rows, gradient = value_and_gradient(loss, labels, tf.constant(x))
    for jit in (False, True):
        compiled = tf.function(value_and_gradient, jit_compile=jit)
        found = compiled(loss, tf.constant(labels), tf.constant(x))
        np.testing.assert_allclose(found[0], rows, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-3, atol=1e-5)

    def place(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                [array[:7], array[7:]][context.replica_id_in_sync_group]
            )
        )

    @tf.function
    def step(labels, x):
        return strategy.run(
            lambda labels, x: value_and_gradient(loss, labels, x), (labels, x)
        )

    for one, other in zip(step(place(labels), place(x)), (rows, gradient)):
        one = np.concatenate(strategy.experimental_local_results(one))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)


@pytest.mark.thin(5)
@every
@pytest.mark.parametrize(
    ("labels", "x"),
    [
        (np.arange(5), np.eye(5)),
        (np.zeros(5), np.eye(5)),
        (np.arange(4) // 2, np.ones((4, 3))),
        (np.arange(4) // 2, np.zeros((4, 3))),
        (np.zeros(1), np.ones((1, 3))),
        (np.zeros(0), np.ones((0, 3))),
    ],
    ids=["no positives", "no negatives", "identical", "length 0", "one", "empty"],
)
def test_degenerate_batches(make, oracle, labels, x):
    for dtype in (tf.float64, tf.float16):
        for loss in (losses.Contrastive(miner=make()), losses.Triplet(miner=make())):
            rows, gradient = value_and_gradient(loss, labels, tf.cast(x, dtype))
            assert np.isfinite(rows).all()
            assert np.isfinite(tf.cast(gradient, tf.float64)).all()


@every
def test_config_round_trip(make, oracle, tmp_path):
    miner = make()
    copy = type(miner).from_config(miner.get_config())
    assert vars(copy) == vars(miner)
    arguments = set(inspect.signature(type(miner)).parameters)
    assert arguments == set(miner.get_config())
    name = f"tfembed>{type(miner).__name__}"
    assert keras.utils.get_registered_object(name) is type(miner)
    loss = losses.Contrastive(miner=miner)
    wire = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(wire.miner) is type(miner) and vars(wire.miner) == vars(miner)
    assert type(miner).__doc__


def test_a_compiled_model_keeps_its_miner(tmp_path):
    labels, x = batch(10)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    miner = miners.DistanceWeightedMiner(0.4)
    model.compile("sgd", loss=losses.Triplet(miner=miner, mining="all"))
    model.fit(x, labels, batch_size=10, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert vars(copy.loss.miner) == vars(miner)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: miners.TopKMiner(0), "negatives"),
        (lambda: miners.TopKMiner(3, 1.5), "positives"),
        (lambda: miners.SemiHardMiner(-1.0), "margin"),
        (lambda: miners.SemiHardMiner(distance="cosine"), "euclidean"),
        (lambda: miners.MultiSimilarityMiner("some"), "epsilon"),
        (lambda: miners.DistanceWeightedMiner(0.0), "nearest"),
        (lambda: miners.DistanceWeightedMiner(0.5, 2.0), "farthest"),
    ],
)
def test_bad_arguments_get_a_sentence(make, word):
    with pytest.raises(ValueError, match=word) as error:
        make()
    assert "Received" in str(error.value)


def test_as_many_draws_as_positives():
    labels, x = (
        np.repeat(np.arange(10), 4),
        np.random.default_rng(5).normal(size=(40, 6)),
    )
    positive, negative = masks(miners.DistanceWeightedMiner(), labels, x)
    assert np.all(positive.sum(1) == 3)
    assert np.all((negative.sum(1) >= 1) & (negative.sum(1) <= 3))
    assert np.mean(negative.sum(1)) > 2


def test_a_miner_of_a_users_own_may_have_further_bases():
    class Named:
        def __init_subclass__(cls, name, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.name = name

    class Mine(Miner, Named, name="mine"):
        pass

    assert Mine.name == "mine" and Mine(ignore_label=3).get_config() == {
        "ignore_label": 3
    }
