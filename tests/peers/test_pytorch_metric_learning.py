"""Ours beside pytorch-metric-learning's, by the numbers that it once computed.

Each test aligns the conventions in plain sight: what stands between the two numbers is
what differs between the two libraries. `make_pytorch_metric_learning.py` writes the
files.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from peers.compare import value_and_gradients
from peers.recorded import load, pairs

from tfembed import layers, losses, weighting

EXACT = {"rtol": 1e-7, "atol": 1e-8}


def check(case, ours, scale=1.0, shift=0.0, close=EXACT):
    """Compares `scale * mean(ours) + shift`, and its gradient, with a case.

    Args:
        case: Of `load`.
        ours: `ours(labels, embeddings)` returns the loss of each row.
        scale: Number of theirs in one of ours.
        shift: A constant of theirs that ours leaves out.
        close: Tolerances.
    """
    value, gradient = value_and_gradients(
        lambda x: scale * tf.reduce_mean(ours(case.labels, x)), case.embeddings
    )
    np.testing.assert_allclose(value + shift, case.loss, **close)
    np.testing.assert_allclose(gradient, case.gradient, **close)


def anchors_with_positives(labels):
    """Returns how many rows have another one of their class."""
    return sum(np.sum(labels == label) > 1 for label in labels)


def test_contrastive():
    """Pairs of each kind are averaged apart there, in one mean here.

    With its `SumReducer` all pairs are summed. Its cosine form wants `pos_margin=1`.
    """
    for name, form in [("squared", "survey"), ("cosine", "cosine")]:
        case = load("contrastive", name)
        positives, negatives = pairs(case.labels)
        loss = losses.Contrastive(margin=case.argument("neg_margin"), form=form)
        check(
            case,
            loss.per_row,
            scale=positives + negatives,
            shift=positives if form == "cosine" else 0,
        )


def test_contrastive_default_is_unsquared_and_over_active_pairs():
    """Its default: D and [1 - D]+ of unit rows, each averaged over what is not 0."""
    case = load("contrastive", "default")
    x = case.embeddings / np.linalg.norm(case.embeddings, axis=1, keepdims=True)
    distance = np.linalg.norm(x[:, None] - x[None, :], axis=2)
    same = case.labels[:, None] == case.labels[None, :]
    pull = distance[same & ~np.eye(len(x), dtype=bool)]
    push = np.maximum(1 - distance[~same], 0)
    theirs = pull.mean() + push[push > 0].mean()
    np.testing.assert_allclose(theirs, case.loss, rtol=1e-9)
    ours = losses.Contrastive(normalize=True)(case.labels, case.embeddings)
    squares = (pull**2).sum() + (push**2).sum()
    np.testing.assert_allclose(ours, squares / (pull.size + push.size), rtol=1e-6)


def test_triplet():
    """Its default mean is over triplets of loss above 0; ours, its `MeanReducer`."""
    for name, settings in {
        "distance": {"margin": 0.3, "distance": "euclidean"},
        "squared": {"margin": 0.3},
        "cosine": {"margin": 0.3, "distance": "cosine"},
        "smooth": {"distance": "euclidean", "soft": True},
    }.items():
        loss = losses.Triplet(mining="all", **settings)
        check(load("triplet_margin", name), loss.per_row)


def test_triplet_default_is_over_active_triplets():
    """Ours, divided by the share of triplets that cost something."""
    case = load("triplet_margin", "default")
    x = case.embeddings / np.linalg.norm(case.embeddings, axis=1, keepdims=True)
    distance = np.linalg.norm(x[:, None] - x[None, :], axis=2)
    same = case.labels[:, None] == case.labels[None, :]
    cost = distance[:, :, None] - distance[:, None, :] + 0.05
    triplet = (same & ~np.eye(len(x), dtype=bool))[:, :, None] & ~same[:, None, :]
    active = np.mean(cost[triplet] > 0)
    loss = losses.Triplet(0.05, "euclidean", mining="all", normalize=True)
    check(case, loss.per_row, scale=1 / active)


def test_triplet_with_batch_hard_miner():
    for name, distance in {
        "hard": "euclidean",
        "hard_squared": "squared_euclidean",
    }.items():
        loss = losses.Triplet(0.3, distance, mining="hard")
        check(load("triplet_margin", name), loss.per_row)


def test_triplet_with_semihard_miner():
    """Its "semihard" triplets are our window, with the miner's margin."""
    loss = losses.Triplet(0.3, mining="window")
    check(load("triplet_margin", "window"), loss.per_row)


def test_lifted_structure():
    """The same mean in two counts: ordered pairs, each by half, in both."""
    loss = losses.LiftedStructure(normalize=True)
    check(load("lifted_structure", "default"), loss.per_row)
    loss = losses.LiftedStructure(margin=1.2)
    check(load("lifted_structure", "distance"), loss.per_row)


def test_generalized_lifted_structure():
    """On cosines it is the form of general pair weighting: the gradient is compared.

    An anchor without positives pushes there, and does nothing here: none has none.
    """
    case = load("generalized_lifted_structure", "cosine")
    loss = weighting.PairWeighted(weighting.LiftedWeights(case.argument("pos_margin")))
    _, gradient = value_and_gradients(
        lambda x: tf.reduce_mean(loss.per_row(case.labels, x)), case.embeddings
    )
    np.testing.assert_allclose(gradient, case.gradient, **EXACT)


def test_n_pairs():
    """It takes one pair of each class; here the anchors, and their positives as refs.

    It normalises by default, and has no penalty of the norms.
    """
    for name, normalize in {"default": True, "dot": False}.items():
        case = load("n_pairs", name)
        labels = np.unique(case.labels)
        pairs = np.array([np.flatnonzero(case.labels == label) for label in labels])
        loss = losses.NPair(l2=0.0, normalize=normalize)

        def of_pairs(_, x, loss=loss, labels=labels, pairs=pairs):
            anchors, positives = tf.gather(x, pairs[:, 0]), tf.gather(x, pairs[:, 1])
            return loss.per_row(labels, anchors, labels, positives)

        check(case, of_pairs)


def test_multi_similarity():
    """Mining is inside here; there `epsilon` is its miner's. All else is alike."""
    for name, settings in {
        "default": {"epsilon": None},
        "mined": {"base": 1.0},
        "other": {"alpha": 3.0, "beta": 12.0, "base": 0.2, "epsilon": None},
    }.items():
        check(
            load("multi_similarity", name), losses.MultiSimilarity(**settings).per_row
        )


def test_circle():
    """Anchors without a pair of each kind count in its mean, as 0; here not.

    Its default mean is over the losses that are not 0: at random, ours.
    """
    default = load("circle", "default")
    check(default, losses.Circle().per_row)
    valid = anchors_with_positives(default.labels) / len(default.labels)
    for name, settings in {
        "mean": {},
        "other": {"margin": 0.25, "gamma": 10.0},
    }.items():
        check(load("circle", name), losses.Circle(**settings).per_row, scale=valid)


def test_sup_con():
    """As with the circle loss: which anchors count in the mean."""
    default = load("sup_con", "default")
    check(default, losses.SupCon().per_row)
    valid = anchors_with_positives(default.labels) / len(default.labels)
    for name, temperature in {"mean": 0.1, "other": 0.5}.items():
        loss = losses.SupCon(temperature=temperature)
        check(load("sup_con", name), loss.per_row, scale=valid)


@pytest.mark.parametrize("file", ["nt_xent", "nt_xent_two_views"])
def test_nt_xent(file):
    """The default temperature differs; it adds a small number within the logarithm."""
    for name, temperature in {"default": 0.07, "other": 0.5}.items():
        loss = losses.NTXent(temperature=temperature)
        check(load(file, name), loss.per_row, close={"rtol": 1e-4, "atol": 1e-6})


def test_nca():
    """Its `softmax_scale` is one over our temperature; it normalises by default."""
    check(load("nca", "default"), losses.NCA(normalize=True).per_row)
    check(load("nca", "distance"), losses.NCA(temperature=1 / 0.7).per_row)


def test_margin():
    """Triplets there, pairs here; theirs divides by the number of what costs something.

    The triplets hold each of their pairs once. With all triplets a pair counts there as
    often as it stands in one.
    """
    for name, settings in {
        "triplets": {"normalize": True},
        "distance": {"beta": 1.0, "margin": 0.3},
        "learned": {"normalize": True, "num_classes": 6},
    }.items():
        case = load("margin", name)
        kept = np.zeros([2, *[len(case.labels)] * 2], bool)
        anchors, positives, negatives = case.settings["triplets"]
        kept[0, anchors, positives] = kept[1, anchors, negatives] = True
        layer = layers.Margin(
            mean="active", miner=lambda _, kept=kept: kept, **settings
        )
        x = tf.constant(case.embeddings, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            layer([x, tf.constant(case.labels)], training=True)
            (value,) = layer.losses
        gradients = tape.gradient(value, [x, *layer.trainable_variables])
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(value, case.loss, **close)
        np.testing.assert_allclose(gradients[0], case.gradient, **close)
        if name == "learned":
            gradient = tf.convert_to_tensor(gradients[1])
            np.testing.assert_allclose(gradient, case.weights_gradient, **close)


def test_angular():
    """It does not normalise the negatives: unit rows, and the gradient along them."""
    for name, alpha in {"default": 40.0, "other": 30.0}.items():
        case = load("angular", name)
        x, theirs = case.embeddings, case.gradient
        along = theirs - np.sum(theirs * x, axis=1, keepdims=True) * x
        case = dataclasses.replace(case, gradient=along)
        check(case, losses.Angular(alpha=alpha).per_row)


def test_tuplet_margin():
    """Its margin is in degrees."""
    for name, degrees, scale in [("default", 5.73, 64.0), ("other", 10.0, 8.0)]:
        loss = losses.TupletMargin(margin=np.radians(degrees), scale=scale)
        check(load("tuplet_margin", name), loss.per_row)


def test_intra_pair_variance():
    for name, epsilons in {"default": (0.01, 0.01), "other": (0.1, 0.2)}.items():
        loss = losses.IntraPairVariance(*epsilons)
        check(load("intra_pair_variance", name), loss.per_row)


def test_ranked_list():
    """It adds 1e-5 a row to the sum of weights; weights have a gradient there."""
    close = {"rtol": 1e-3, "atol": 1e-4}
    for name, settings in {
        "default": {"margin": 0.4, "negative_temperature": 0.0, "normalize": True},
        "distance": {"margin": 0.5, "negative_temperature": 0.0, "alpha": 1.4},
        "weighted": {
            "margin": 0.4,
            "negative_temperature": 3.0,
            "positive_temperature": 1.0,
            "balance": 0.3,
            "normalize": True,
            "stop_gradient_weights": False,
        },
    }.items():
        settings.setdefault("alpha", 1 + settings["margin"] / 2)
        settings.setdefault("positive_temperature", 0.0)
        settings.setdefault("normalize", False)
        loss = losses.RankedList(**settings)
        check(load("ranked_list", name), loss.per_row, close=close)


def test_fast_ap():
    for name, bins in {"default": 10, "other": 5}.items():
        check(load("fast_ap", name), losses.FastAP(bins=bins).per_row)


def test_smooth_ap():
    """It counts each anchor as its own first positive.

    It takes rows in the order of their classes, as many of each class as there are
    classes: for other batches of equal classes it compares rows of different ones.
    """
    for name, temperature in {"default": 0.01, "other": 0.2}.items():
        loss = losses.SmoothAP(temperature=temperature, include_anchor=True)
        check(load("smooth_ap", name), loss.per_row)


def test_histogram():
    for name, bins in {"default": 100, "other": 20}.items():
        check(load("histogram", name), losses.Histogram(bins=bins).per_row)


def test_signal_to_noise_ratio():
    """Pairs of each kind are averaged apart there, in one mean here."""
    for name, settings in {
        "sum": {"normalize": True},
        "plain": {"margin": 2.5, "positive_margin": 0.3},
    }.items():
        case = load("signal_to_noise_ratio", name)
        check(case, losses.SNR(**settings).per_row, scale=sum(pairs(case.labels)))


def test_signal_to_noise_ratio_default_is_over_active_pairs():
    """Ours of each kind of pairs alone, over the share of it that costs something."""
    case = load("signal_to_noise_ratio", "default")
    x = case.embeddings / np.linalg.norm(case.embeddings, axis=1, keepdims=True)
    ratio = np.var(x[:, None] - x[None, :], axis=2) / np.var(x, axis=1)[:, None]
    same = case.labels[:, None] == case.labels[None, :]
    positive, push = same & ~np.eye(len(x), dtype=bool), np.maximum(1 - ratio, 0)
    shares = [1.0, np.mean(push[~same] > 0)]
    kinds = [np.stack([positive, same & ~same]), np.stack([same & ~same, ~same])]

    def ours(labels, x):
        means = [
            losses.SNR(normalize=True, miner=lambda _, kind=kind: kind).per_row(
                labels, x
            )
            for kind in kinds
        ]
        return means[0] / shares[0] + means[1] / shares[1]

    check(case, ours)


def test_zero_mean_regularizer():
    """Beside its sum of all pairs, the mean of the rows' regulariser."""
    case = load("signal_to_noise_ratio", "regularised")
    count = sum(pairs(case.labels))
    check(case, losses.SNR(zero_mean=0.2 / count).per_row, scale=count)


def test_pnp():
    """It counts each anchor as one of its own positives."""
    for name, settings in {
        "default": {},
        "other": {"temperature": 0.1},
        "increasing": {"temperature": 0.1, "form": "Iu"},
        "bounded": {"temperature": 0.1, "form": "Ib", "b": 3.0},
        "decreasing": {"temperature": 0.1, "form": "Ds"},
        "quotient": {"temperature": 0.1, "form": "Dq", "alpha": 2.0},
    }.items():
        check(load("pnp", name), losses.PNP(include_anchor=True, **settings).per_row)


def test_threshold_consistent_margin():
    loss = losses.ThresholdConsistentMargin()
    check(load("threshold_consistent_margin", "default"), loss.per_row)
    loss = losses.ThresholdConsistentMargin(0.4, -0.2, 0.7, 2.5)
    check(load("threshold_consistent_margin", "other"), loss.per_row)


def test_vicreg():
    """It gets the views apart; here the image is the label."""
    check(load("vicreg", "default"), losses.VICReg().per_row)
    loss = losses.VICReg(2.0, 3.5, 4.0, epsilon=0.01)
    check(load("vicreg", "other"), loss.per_row)


def check_proxies(case, loss, scale=1.0, shift=0.0, **proxies):
    """Compares a loss on `Proxies(**proxies)` that hold the case's weights.

    Their weights are float32 in ours, whatever the embeddings are.
    """
    per_class = proxies.get("per_class", 1)
    layer = layers.Proxies(len(case.weights) // per_class, **proxies)
    layer.build(case.embeddings.shape)
    layer.set_weights([case.weights])
    x = tf.constant(case.embeddings)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = scale * tf.reduce_mean(loss.per_row(case.labels, layer(x)))
    gradients = tape.gradient(value, [x, *layer.trainable_variables])
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(value + shift, case.loss, **close)
    np.testing.assert_allclose(gradients[0], case.gradient, **close)
    np.testing.assert_allclose(gradients[1], case.weights_gradient, **close)


def test_proxy_nca():
    """The own class is in its denominator; unit rows, and their squared distances."""
    for name, scale in {"default": 1.0, "other": 3.0}.items():
        case = load("proxy_nca", name)
        loss = losses.ProxyNCA(scale=scale, positive_in_denominator=True)
        check_proxies(case, loss, similarity="negative_squared_distance")
        loss = losses.ProxyNCA(scale=2 * scale, positive_in_denominator=True)
        check_proxies(case, loss)  # cosines, with twice the scale


def test_proxy_anchor():
    check_proxies(load("proxy_anchor", "default"), losses.ProxyAnchor())
    loss = losses.ProxyAnchor(margin=0.2, alpha=4.0)
    check_proxies(load("proxy_anchor", "other"), loss)


def test_soft_triple():
    """Without the regulariser of the centres, which is another class there."""
    loss = losses.SoftTriple(per_class=3)
    check_proxies(load("soft_triple", "default"), loss, per_class=3)
    loss = losses.SoftTriple(per_class=3, scale=5.0, gamma=0.4, margin=0.1)
    check_proxies(load("soft_triple", "other"), loss, per_class=3)


def test_cosface():
    check_proxies(load("cos_face", "default"), losses.CosFace(scale=64.0, margin=0.35))
    check_proxies(load("cos_face", "other"), losses.CosFace(scale=5.0, margin=0.2))


def test_arcface():
    """Its margin is in degrees; both go on beyond pi with a shifted cosine."""
    for name, scale, degrees in [
        ("default", 64.0, 28.6),
        ("other", 5.0, 15.0),
        ("wide", 5.0, 80.0),
    ]:
        loss = losses.ArcFace(scale=scale, margin=float(np.radians(degrees)))
        check_proxies(load("arc_face", name), loss)


def test_sub_center_arcface():
    loss = losses.ArcFace(margin=float(np.radians(28.6)), per_class=3)
    check_proxies(load("sub_center_arc_face", "default"), loss, per_class=3)


def test_sphereface():
    """Logits are as long as the embeddings, as in the paper."""
    for name, scale, margin in [("default", 1.0, 4), ("other", 3.0, 2)]:
        check_proxies(
            load("sphere_face", name),
            losses.LargeMarginSoftmax(scale=scale, margin=margin),
            similarity="product_and_length",
            normalize="proxies",
        )


def test_large_margin_softmax():
    for name, scale, margin in [("default", 1.0, 4), ("other", 2.0, 3)]:
        check_proxies(
            load("large_margin_softmax", name),
            losses.LargeMarginSoftmax(scale=scale, margin=margin),
            similarity="product_and_length",
        )


def test_norm_softmax():
    for name, temperature in {"default": 0.05, "other": 0.5}.items():
        loss = losses.NormSoftmax(temperature=temperature)
        check_proxies(load("normalized_softmax", name), loss)


def test_p2s_grad():
    """Its mean is over classes, too; its weights have unit length before each step.

    Ours are divided by their length within the step: the gradient along them is 0.
    """
    case = load("p2s_grad", "default")
    lengths = np.linalg.norm(case.weights, axis=1, keepdims=True)
    w, theirs = case.weights / lengths, case.weights_gradient
    along = (theirs - np.sum(theirs * w, axis=1, keepdims=True) * w) / lengths
    case = dataclasses.replace(case, weights_gradient=along)
    check_proxies(case, losses.P2SGrad(), scale=2 / len(case.weights))


@pytest.mark.parametrize(
    "name, loss",
    [
        ("contrastive", lambda: losses.Contrastive(margin=2.0, form="survey")),
        (
            "multi_similarity",
            lambda: losses.MultiSimilarity(epsilon=None),
        ),
    ],
)
def test_cross_batch(name, loss):
    """Several steps: the batch first, each row without itself, then what it remembers.

    Its `SumReducer` sums all pairs; ours is their mean.
    """
    theirs = load("cross_batch_memory", name)
    size = theirs.settings["memory"]["memory_size"]
    layer = layers.CrossBatch(loss(), size)
    seen = []
    for step, (labels, x) in enumerate(zip(theirs.labels, theirs.embeddings)):
        x = tf.constant(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            layer([x, tf.constant(labels)], training=True)
            (value,) = layer.losses
        gradient = tape.gradient(value, x)
        seen = [*seen, *labels][-size:]
        pairs = len(labels) * (len(seen) - 1) if name == "contrastive" else 1
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(pairs * value, theirs.loss[step], **close)
        np.testing.assert_allclose(pairs * gradient, theirs.gradient[step], **close)


@pytest.mark.parametrize("name", ["default", "other"])
def test_dynamic_soft_margin(name):
    """Several steps of pairs of views; a batch counts by its number of triplets there.

    Its negatives are of the other side alone: here they are so by themselves.
    """
    theirs = load("dynamic_soft_margin", name)
    count = theirs.labels.shape[1] // 2
    momentum = theirs.argument("momentum", 0.01)
    share = momentum * count / (1 - momentum + momentum * count)
    layer = layers.DynamicSoftMargin(theirs.argument("num_bins", 10), momentum=share)
    for step, (labels, x) in enumerate(zip(theirs.labels, theirs.embeddings)):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        cosines = np.where(labels[:, None] == labels, -1, unit @ unit.T)
        side = np.arange(len(labels)) < count
        assert np.all(side[np.argmax(cosines, axis=1)] != side)
        x = tf.constant(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            layer([x, tf.constant(labels)], training=True)
            (value,) = layer.losses
        gradient = tape.gradient(value, x)
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(value, theirs.loss[step], **close)
        np.testing.assert_allclose(gradient, theirs.gradient[step], **close)
