"""Generator, discriminator and mining, against NumPy and against one replica."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.callbacks import Backup
from tfembed.layers import InstanceSimilarity, UnitNorm
from tfembed.training import (
    NeighborMiner,
    PositiveSets,
    ProxyGAN,
    ProxyMiner,
    build_discriminator,
    build_generator,
)

SIZE, DIM = 24, 6


def frozen():
    """An encoder that only normalises, and an endpoint with a few sets."""
    inputs = keras.Input((DIM,))
    encoder = keras.Model(inputs, UnitNorm()(inputs))
    endpoint = InstanceSimilarity(SIZE, width=4, seed=1)
    endpoint.build([(None, DIM), (None,)])
    sets = PositiveSets.alone(SIZE).with_pairs([0, 0, 5, 7], [1, 2, 6, 6])
    endpoint.set_positives(sets.offsets, sets.indices)
    return encoder, endpoint


def gan_of(learning_rate=0.01, **options):
    gan = ProxyGAN(*frozen(), **{"candidates": 16, "seed": 3, **options})
    gan.compile(learning_rate)
    return gan


def images(seed=0):
    return np.random.default_rng(seed).normal(size=(SIZE, DIM)).astype("float32")


def data(batch=8, order=1):
    ids = np.arange(SIZE)[::order]
    return tf.data.Dataset.from_tensor_slices(
        {"images": images()[ids], "ids": ids}
    ).batch(batch)


def sets_of(endpoint):
    table = endpoint.positives_of(np.arange(SIZE)).numpy()
    return [{i, *row[row >= 0].tolist()} for i, row in enumerate(table)]


def dense(network, rows):
    """A network of dense layers by NumPy, its leaky slope 0.01."""
    weights = [np.asarray(each, np.float64) for each in network.get_weights()]
    hidden = np.concatenate(rows, axis=1)
    for place in range(0, len(weights), 2):
        hidden = hidden @ weights[place] + weights[place + 1]
        if place + 2 < len(weights):
            hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
    return hidden


def generated(gan, *triplet):
    proxies = dense(gan.generator, triplet)
    return proxies / np.linalg.norm(proxies, axis=1, keepdims=True)


def judged(gan, *triplet):
    return 1 / (1 + np.exp(-dense(gan.discriminator, triplet)[:, 0]))


def test_networks_are_the_papers():
    generator, discriminator = build_generator(8), build_discriminator(8)
    assert [w.shape for w in generator.get_weights()[::2]] == [
        (24, 16),
        (16, 8),
        (8, 8),
    ]
    assert [w.shape for w in discriminator.get_weights()[::2]] == [
        (24, 8),
        (8, 4),
        (4, 1),
    ]
    gan = gan_of()
    triplet = np.random.default_rng(0).normal(size=(3, 5, DIM))
    proxies, near = gan.proxies(*np.float32(triplet))
    a, p, n = triplet
    np.testing.assert_allclose(proxies, generated(gan, a, p, n), atol=1e-5)
    np.testing.assert_allclose(near, judged(gan, a, proxies, n), atol=1e-5)


@pytest.mark.parametrize("positive", ["own_row", "set"])
def test_triplets(positive, run):
    gan = gan_of(positive=positive)
    _, endpoint = gan.frozen()
    bank, sets = endpoint.bank.variable.numpy(), sets_of(endpoint)
    ids = np.arange(SIZE)
    anchors = gan.embed(images())
    for number in range(2):
        drawn = tf.random.stateless_uniform(
            [16], [3, number], maxval=SIZE, dtype=tf.int64, alg="philox"
        ).numpy()
        _, positives, negatives, sound = run(
            lambda number: gan.triplets(anchors, tf.constant(ids), number),
            tf.constant(number, tf.int64),
        )
        assert np.all(sound)
        for i in ids:
            allowed = [j for j in drawn if j not in sets[i]]
            best = max(allowed, key=lambda j: float(bank[j] @ anchors[i].numpy()))
            np.testing.assert_array_equal(negatives[i], bank[best])
            allowed = sets[i] if positive == "set" else {i}
            assert any(np.array_equal(positives[i], bank[j]) for j in allowed)


def test_positives_of_a_set_are_drawn_evenly():
    gan = gan_of(positive="set")
    _, endpoint = gan.frozen()
    bank = endpoint.bank.variable.numpy()
    counts = np.zeros(SIZE)
    ids = tf.constant([0], tf.int64)
    others = endpoint.positives_of(ids)
    for number in range(90):
        (row,) = gan._positives(endpoint.bank.variable, ids, others, number).numpy()
        counts[np.argmin(np.abs(bank - row).sum(axis=1))] += 1
    assert counts.sum() == counts[[0, 1, 2]].sum()
    assert counts[[0, 1, 2]].min() > 18


def test_an_anchor_whose_set_is_everything_has_no_negative():
    gan = gan_of()
    _, endpoint = gan.frozen()
    everything = InstanceSimilarity(SIZE, width=SIZE - 1, seed=1)
    everything.build([(None, DIM), (None,)])
    everything.set_positives(np.r_[0, np.full(SIZE, SIZE)], np.arange(SIZE))
    gan.frozen = lambda: (None, everything)
    sound = gan.triplets(tf.zeros([2, DIM]), tf.constant([0, 1], tf.int64), 0)[3]
    assert sound.numpy().tolist() == [False, True]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.3},
        {"fakes": "one", "alpha": 2.0},
        {"generator_loss": "minimax", "alpha": 0.5},
    ],
    ids=str,
)
def test_losses_and_first_steps_equal_the_formula(options):
    rate, alpha = 1e-3, options.get("alpha", 1.0)
    gan = gan_of(rate, **options)
    a, p, n, _ = gan.triplets(gan.embed(images()), tf.range(SIZE, dtype=tf.int64), 0)
    share = 1.0 if options.get("fakes") == "one" else 0.5
    minimax = options.get("generator_loss") == "minimax"

    def discriminator_loss(g):
        def d(*t):
            return tf.sigmoid(gan.discriminator(list(t))[:, 0])

        false = tf.math.log(1 - d(a, g, n)) + alpha * tf.math.log(1 - d(a, p, g))
        return -tf.reduce_mean(tf.math.log(d(a, p, n)) + share * false) / 2

    def generator_loss():
        g = gan.generator([a, p, n])
        near = tf.sigmoid(gan.discriminator([a, g, n])[:, 0])
        far = tf.sigmoid(gan.discriminator([a, p, g])[:, 0])
        if minimax:
            terms = tf.math.log(1 - near) + alpha * tf.math.log(1 - far)
        else:
            terms = -tf.math.log(near) - alpha * tf.math.log(far)
        return tf.reduce_mean(terms) / 2

    def signs(network, loss):
        with tf.GradientTape() as tape:
            value = loss()
        variables = [compat.variable(each) for each in network.trainable_variables]
        return float(value), [g.numpy() for g in tape.gradient(value, variables)]

    g = gan.generator([a, p, n])
    of_d, gradients_d = signs(gan.discriminator, lambda: discriminator_loss(g))
    before = gan.generator.get_weights(), gan.discriminator.get_weights()
    logs = gan.train_step({"images": images(), "ids": np.arange(SIZE)})
    assert float(logs["discriminator_loss"]) == pytest.approx(of_d, rel=1e-5)
    moved = gan.generator.get_weights()
    gan.generator.set_weights(before[0])  # its step was by the new discriminator
    of_g, gradients_g = signs(gan.generator, generator_loss)
    assert float(logs["generator_loss"]) == pytest.approx(of_g, rel=1e-5)
    for old, new, gradient in [
        *zip(before[0], moved, gradients_g),
        *zip(before[1], gan.discriminator.get_weights(), gradients_d),
    ]:  # the first step of Adam
        clear = np.abs(gradient) > 1e-4
        expected = -rate * np.sign(gradient)
        np.testing.assert_allclose((new - old)[clear], expected[clear], rtol=4e-2)


def test_training_is_of_the_gan_alone_and_goes_on_from_a_backup(tmp_path):
    whole = gan_of()
    assert len(whole.trainable_weights) == 12  # none of encoder or bank
    _, endpoint = whole.frozen()
    before = endpoint.get_weights()
    whole.fit(data(), epochs=2, verbose=0)
    for old, new in zip(before, endpoint.get_weights()):
        np.testing.assert_array_equal(old, new)
    first = gan_of()
    first.fit(data(), epochs=1, verbose=0, callbacks=[Backup(tmp_path)])
    second = gan_of(seed=9)
    second.seed = 3
    assert Backup(tmp_path).restore(second) == 1
    second.fit(data(), epochs=2, initial_epoch=1, verbose=0)
    for a, b in zip(whole.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_replicas_are_one(strategy):
    part = data(8).unbatch().take(15).batch(8)  # of the last seven one has four
    part = part.apply(tf.data.experimental.assert_cardinality(2))
    options = {"positive": "set", "alpha": 0.5}
    one = gan_of(**options)
    with strategy.scope():
        two = gan_of(**options)
        two.set_weights(one.get_weights())
    losses = [
        gan.fit(part, epochs=2, shuffle=False, verbose=0).history for gan in (one, two)
    ]
    for name in losses[0]:
        np.testing.assert_allclose(losses[0][name], losses[1][name], rtol=1e-4)
    for a, b in zip(one.trainable_weights, two.trainable_weights):
        a, b = compat.variable(a).numpy(), compat.variable(b).numpy()
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    alone = PositiveSets.alone(SIZE)
    mined = [
        ProxyMiner(gan, score=0.0, radius=0.1, proxies=2).mine(
            part, alone, number=4, strategy=their_strategy
        )
        for gan, their_strategy in ((one, None), (two, strategy))
    ]
    np.testing.assert_array_equal(mined[0][0].offsets, mined[1][0].offsets)
    np.testing.assert_array_equal(mined[0][0].indices, mined[1][0].indices)
    assert mined[0][0].others > 0
    assert mined[0][1] == pytest.approx(mined[1][1], rel=1e-4)


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    "options",
    [
        {"score": 0.4, "radius": 0.2},
        {"score": 0.4, "radius": 0.2, "neighbors": 2},
        {"score": 0.3, "rule": "euclidean", "radius": 1.1},
        {"score": 0.4, "radius": 0.2, "proxies": 3},
        {"score": 0.9999},
    ],
    ids=str,
)
def test_mining_equals_loops(options):
    gan = gan_of(candidates=5)
    gan.discriminator.set_weights(
        [3 * each for each in gan.discriminator.get_weights()]
    )
    miner = ProxyMiner(gan, **options)
    _, endpoint = gan.frozen()
    before = PositiveSets.alone(SIZE).with_pairs([3], [4])
    found, seen = miner.mine(data(order=-1), before, number=2)
    bank = np.float64(endpoint.bank.variable.numpy())
    ids = np.arange(SIZE)[::-1]
    expected = [{i} for i in range(SIZE)]
    expected[3].add(4)
    expected[4].add(3)
    accepted = 0
    for step, part in enumerate(ids.reshape(3, 8)):
        proxies = []
        for each in range(miner.proxies):
            number = -1 - (2 * 3 + step) * miner.proxies - each
            a, p, n, _ = gan.triplets(gan.embed(images()[part]), part, number)
            g = generated(gan, a, p, n)
            proxies.append((g, judged(gan, a, g, n)))
        for row, i in enumerate(part):
            g, s = max(((g[row], s[row]) for g, s in proxies), key=lambda x: x[1])
            accepted += s > miner.score
            if not s > miner.score:
                continue
            others = sorted(set(range(SIZE)) - {i}, key=lambda j: -g @ bank[j])
            for j in others[: miner.neighbors]:
                if miner.rule == "score":
                    near = g @ bank[j] > miner.radius + (1 - s) * (1 - miner.radius)
                else:
                    near = np.linalg.norm(g - bank[j]) < miner.radius
                if near:
                    expected[i].add(j)
                    expected[j].add(i)
    table = [
        set(found.indices[x:y].tolist())
        for x, y in zip(found.offsets, found.offsets[1:])
    ]
    assert table == expected
    assert seen["accepted"] == accepted / SIZE
    assert seen["pairs"] == found.others - 2
    assert (seen["pairs"] > 0) == (miner.score < 0.5)
    assert all(i in each for i, each in enumerate(table))
    assert all(i in table[j] for i, each in enumerate(table) for j in each)


def test_mining_keeps_what_lies_farthest_inside():
    gan = gan_of()
    miner = ProxyMiner(gan, score=0.1, radius=0.05, rule="score")
    alone = PositiveSets.alone(SIZE)
    everything, _ = miner.mine(data(), alone)
    some, seen = miner.mine(data(), alone, limit=11)
    assert some.others == seen["pairs"] == 10 < everything.others
    pairs = set(zip(*map(tuple, everything.pairs())))
    assert set(zip(*map(tuple, some.pairs()))) < pairs


def test_plain_neighbours_are_the_closest_pairs():
    _, endpoint = frozen()
    bank = np.float64(endpoint.bank.variable.numpy())
    before = PositiveSets.alone(SIZE).with_pairs([0], [1])
    found = NeighborMiner(endpoint.bank, neighbors=SIZE).mine(before, limit=12)
    pairs = [(i, j) for i in range(SIZE) for j in range(i) if (i, j) != (1, 0)]
    pairs = sorted(pairs, key=lambda pair: -bank[pair[0]] @ bank[pair[1]])[:5]
    rows, columns = zip(*pairs)
    expected = before.with_pairs(rows, columns)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    lists = NeighborMiner(endpoint.bank, neighbors=2).mine(before, limit=np.inf)
    order = np.argsort(-(bank @ bank.T) + 9 * np.eye(SIZE), axis=1)[:, :2]
    expected = before.with_pairs(np.repeat(np.arange(SIZE), 2), order.reshape(-1))
    np.testing.assert_array_equal(lists.indices, expected.indices)


def test_mining_tells_how_far_it_is():
    told = []
    ProxyMiner(gan_of()).mine(
        data(), PositiveSets.alone(SIZE), report=lambda *numbers: told.append(numbers)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "bad",
    [
        {"score": 1.5},
        {"rule": "cosine"},
        {"radius": 0.0},
        {"radius": 1.2},
        {"neighbors": 0},
        {"proxies": 0.5},
    ],
    ids=str,
)
def test_bad_arguments_of_mining_get_a_sentence(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=f"`{name}`") as error:
        ProxyMiner(None, **bad)
    assert "Received" in str(error.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"positive": "bank"},
        {"alpha": -1.0},
        {"fakes": "both"},
        {"generator_loss": "hinge"},
        {"candidates": 0},
    ],
    ids=str,
)
def test_bad_arguments_of_the_gan_get_a_sentence(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=f"`{name}`") as error:
        ProxyGAN(*frozen(), **bad)
    assert "Received" in str(error.value)
