"""How a loss weighs the pairs of one anchor, given how similar they are."""

from __future__ import annotations

import tensorflow as tf

from tfembed.hints import Rows
from tfembed.losses import FunctionalLoss, LargeMarginSoftmax
from tfembed.ops.pairs import Similarities
from tfembed.weighting.derivatives import on_proxies, pair_weights


def anchor_weights(
    loss: FunctionalLoss, positive: Rows, negative: Rows
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the weights of one anchor's pairs, for many anchors apart.

    For a loss that takes references the anchor stands against its pairs alone. A loss
    on similarities to proxies gets those of the anchor's class, its one positive, and
    of the other classes; the proxies of a class are equally similar. Any other loss
    gets a batch: the anchor, its positives, and negatives that come in pairs of one
    class, each row with its similarity to the anchor and nothing else in common with
    other rows; both orders of a pair are added up.

    Args:
        loss: A loss of `tfembed.losses`.
        positive: `(anchors, p)`, cosine similarities to the positives.
        negative: `(anchors, n)`, to the negatives; n even.

    Returns:
        The signed weights of both, `(anchors, p)` and `(anchors, n)`, float64: the
        derivatives of the anchor's loss (or the batch's), positive where a pair is
        pushed apart.
    """
    pulled = tf.convert_to_tensor(positive, tf.float64)
    pushed = tf.convert_to_tensor(negative, tf.float64)
    p, n = pulled.shape[1], pushed.shape[1]
    if on_proxies(loss):
        one = _to_proxies
    else:
        try:
            _alone(loss, p, n)(tf.concat([pulled[0], pushed[0]], 0))
            one = _alone
        except (AttributeError, TypeError, ValueError):
            one = _in_batch

    similarities = tf.concat([pulled, pushed], axis=1)
    all_of_them = tf.function(lambda values: tf.map_fn(one(loss, p, n), values))
    weights = all_of_them.get_concrete_function(similarities)(similarities)
    return weights[:, :p], weights[:, p:]


def _alone(loss, p, n):
    labels = [0] * p + list(range(1, n + 1))
    return lambda similarities: pair_weights(
        loss, [0], Similarities(similarities[None]), ref_labels=labels
    )[0]


def _to_proxies(loss, p, n):
    if p != 1:
        raise ValueError(
            "`positive` must hold one similarity, that to the anchor's own class, for "
            f"a loss on proxies. Received: {p} of them."
        )
    each = getattr(loss, "per_class", 1)

    def one(similarities):
        given = spread = tf.repeat(similarities, each)[None]
        if isinstance(loss, LargeMarginSoftmax):  # which takes the lengths as well
            given = tf.concat([spread, tf.ones_like(spread)], axis=1)
        weights = pair_weights(loss, [0], given)[0, : each * (p + n)]
        return tf.reduce_sum(tf.reshape(weights, [p + n, each]), axis=1)

    return one


def _in_batch(loss, p, n):
    labels = [0] * (p + 1) + [1 + i // 2 for i in range(n)]

    def one(similarities):
        own = tf.sqrt(tf.maximum(1 - similarities**2, 0.0))
        rows = tf.concat([similarities[:, None], tf.linalg.diag(own)], axis=1)
        anchor = tf.one_hot([0], p + n + 1, dtype=tf.float64)
        weights = pair_weights(loss, labels, tf.concat([anchor, rows], axis=0))
        return weights[0, 1:] + weights[1:, 0]

    return one
