"""Proxy-Anchor (Kim et al., 2020): each proxy against all rows of the batch."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tfembed.hints import Labels, Number, Rows
from tfembed.losses.base import FunctionalLoss
from tfembed.ops.arguments import check_number, check_positive
from tfembed.ops.floats import like
from tfembed.ops.masked import log1p_sum_exp, log_sum_exp
from tfembed.ops.proxies import over_classes
from tfembed.ops.replicas import gather


def proxy_anchor(
    labels: Labels,
    similarities: Rows,
    *,
    margin: Number = 0.1,
    alpha: Number = 32.0,
    per_class: int = 1,
) -> tf.Tensor:
    """Weighs the rows of a batch by how hard they are for each proxy.

        pull[p] = log(1 + sum{exp(-alpha * (S[i, p] - margin)) : labels[i] = p})
        push[p] = log(1 + sum{exp( alpha * (S[i, p] + margin)) : labels[i] != p})
        loss = mean{pull[p] : p with a row in the batch} + mean{push[p] : all p}

    S is the cosine, from `tfembed.layers.Proxies`. The sums run over the global batch,
    and every row is given the batch's value. A valid term is a pair of proxy and row; a
    label that is no class makes its own row NaN, and no pair.

    Args:
        labels: `(batch,)` or `(batch, 1)`, class numbers in `[0, classes)`.
        similarities: `(batch, classes * per_class)`, float, cosines.
        margin: Of positive and negative pairs; delta in the paper.
        alpha: Sharpness.
        per_class: Proxies of a class; the most similar one stands for it.

    Returns:
        `(batch,)`, float32 or float64, the same number in each row.

    Reference: Kim et al., 2020, equation 4 (https://arxiv.org/abs/2003.13911).
    """
    _check(margin, alpha)

    def rows(classes):
        dtype = classes.similarity.dtype
        sharpness, slack = (
            like(alpha, classes.similarity),
            like(margin, classes.similarity),
        )
        similarity, own = classes.similarity, classes.mask()
        known = classes.known[:, None]
        positive, negative = own & known, ~own & known
        pull, with_rows = _over_batch(sharpness * (slack - similarity), positive)
        push, _ = _over_batch(sharpness * (similarity + slack), negative)
        pull = tf.math.divide_no_nan(
            tf.reduce_sum(pull), tf.reduce_sum(tf.cast(with_rows, dtype))
        )
        return tf.fill(tf.shape(classes.ids), pull + tf.reduce_mean(push))

    return over_classes(rows, labels, similarities, per_class=per_class)


def _over_batch(logits, mask):
    """Returns `log(1 + sum{exp(logits)})` of each proxy over the rows of all replicas.

    A replica adds up its own rows; what travels is one number a proxy.

    Args:
        logits: `(rows, proxies)`.
        mask: `(rows, proxies)`, which of them count.

    Returns:
        `(proxies,)`, and whether any entry of the mask was there, `(proxies,)`.
    """
    partial, there = log_sum_exp(logits, mask, axis=0), tf.reduce_any(mask, axis=0)
    partial, there = gather(partial[None, :], there[None, :])
    return log1p_sum_exp(partial, there, axis=0), tf.reduce_any(there, axis=0)


def _check(margin, alpha):
    check_number(margin=margin)
    check_positive(alpha=alpha)


@keras.utils.register_keras_serializable(package="tfembed")
class ProxyAnchor(FunctionalLoss):
    """`proxy_anchor` as a Keras loss, for a model that ends in `Proxies`.

    >>> loss = ProxyAnchor()
    >>> print(round(float(loss([0, 2], [[0.9, 0.5, -0.2], [0.0, 0.1, 0.8]])), 4))
    7.4933
    """

    function = staticmethod(proxy_anchor)
    check = staticmethod(_check)
