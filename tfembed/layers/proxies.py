"""Trained proxies of classes, and the similarities of embeddings to them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.ops.arguments import check_choice, check_count, check_not_negative
from tfembed.ops.distances import from_similarities, safe_sqrt, squared_distances
from tfembed.ops.floats import widen
from tfembed.ops.unit_rows import unit_rows
from tfembed.ops.zero_rows import around_zero_rows

SIMILARITIES = ("cosine", "negative_squared_distance", "product", "product_and_length")
NORMALIZE = ("both", "proxies", "neither")


@keras.utils.register_keras_serializable(package="tfembed")
class Proxies(compat.ReplicaLosses, keras.layers.Layer):
    """Compares embeddings with trained proxies: what the proxy losses are given.

    Each class has one proxy, or `per_class` of them, its sub-centres. They are a weight
    of the layer, trained by the model's optimizer and saved with it; the loss has no
    state. The last layer of a model whose loss is one of similarities:

    >>> from tfembed.losses import NormSoftmax
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = keras.Sequential([encoder, Proxies(num_classes=10)])
    >>> model.compile("sgd", loss=NormSoftmax())

    The encoder is evaluated and served without it.

    Similarities are float32 at least, whatever the mixed-precision policy:

        similarity                   x the embedding, p a proxy
        "cosine"                     x . p / (|x| |p|)
        "negative_squared_distance"  -|x - p|^2
        "product"                    x . p
        "product_and_length"         x . p of all proxies, then |x| |p| of all proxies

    The last one is what `LargeMarginSoftmax` needs.

    Args:
        num_classes: Number of classes.
        per_class: Proxies of each class; the loss is told the same number.
        similarity: One of the above.
        normalize: What is divided by its length first: `"both"`, `"proxies"` or
            `"neither"`. By default both for `"cosine"`, which cannot be otherwise, and
            for `"negative_squared_distance"`; neither for products.
        merge: Weight of the regulariser of SoftTriple, which draws the proxies of a
            class together: the mean over classes and over pairs of a class's proxies of
            `sqrt(2 - 2 cosine) / 2`. The paper has 0.2.
        initializer: Keras initializer of the proxies `(num_classes * per_class, dim)`;
            by default normal, with a mean squared length of 1.
        regularizer: Keras regularizer of the proxies.

    Call arguments:
        inputs: Embeddings, `(batch, dim)`, float.

    Returns:
        `(batch, num_classes * per_class)`, the proxies of class c in the columns from
        `c * per_class` on; twice as many columns for `"product_and_length"`.

    Reference: Movshovitz-Attias et al., 2017 (https://arxiv.org/abs/1703.07464); Qian
    et al., 2019, equation 8 (https://arxiv.org/abs/1909.05235).
    """

    def __init__(
        self,
        num_classes: int,
        per_class: int = 1,
        similarity: str = "cosine",
        normalize: str | None = None,
        merge: float = 0.0,
        initializer: str | keras.initializers.Initializer | None = None,
        regularizer: str | keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        # Keras' automatic casting would round float32 embeddings to the policy's half
        # type.
        super().__init__(autocast=False, **kwargs)
        check_count(num_classes=num_classes, per_class=per_class)
        check_choice(SIMILARITIES, similarity=similarity)
        check_choice((None, *NORMALIZE), normalize=normalize)
        check_not_negative(merge=merge)
        if similarity == "cosine" and normalize not in (None, "both"):
            raise ValueError(
                "`normalize` must be 'both' for similarity='cosine'; for proxies alone "
                f"take similarity='product'. Received: normalize={normalize!r}."
            )
        self.num_classes = int(num_classes)
        self.per_class = int(per_class)
        self.similarity = similarity
        self.normalize = normalize
        self.merge = merge
        self.initializer = proxy_initializer(initializer)
        self.regularizer = keras.regularizers.get(regularizer)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                "The embeddings must have the shape `(batch, dim)`, dim known. "
                f"Received: shape {tuple(input_shape)}."
            )
        self.proxies = compat.add_float32_weight(
            self,
            "proxies",
            (self.num_classes * self.per_class, int(input_shape[-1])),
            self.initializer,
            self.regularizer,
        )
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        embeddings = widen(inputs)
        proxies = tf.cast(compat.variable(self.proxies), embeddings.dtype)
        if self.merge and self.per_class > 1:
            self.add_loss(self.merge * self._spread(proxies))
        normalize = self.normalize
        if normalize is None:
            normalize = "neither" if self.similarity.startswith("product") else "both"
        if normalize == "both":
            embeddings = unit_rows(embeddings)
        if normalize != "neither":
            proxies = unit_rows(proxies)
        return around_zero_rows(lambda rows: self._compare(rows, proxies), embeddings)

    def _compare(self, embeddings, proxies):
        if self.similarity == "negative_squared_distance":
            return -squared_distances(embeddings, proxies)
        products = tf.matmul(embeddings, proxies, transpose_b=True)
        if self.similarity != "product_and_length":
            return products
        lengths = _lengths(embeddings)[:, None] * _lengths(proxies)[None, :]
        return tf.concat([products, lengths], axis=1)

    def _spread(self, proxies):
        """Returns the mean of `sqrt(2 - 2 cosine) / 2` over the pairs of a class."""
        shape = [self.num_classes, self.per_class, -1]
        centres = tf.reshape(unit_rows(proxies), shape)
        cosines = tf.matmul(centres, centres, transpose_b=True)
        distances = safe_sqrt(from_similarities(cosines))
        ordered_pairs = self.num_classes * self.per_class * (self.per_class - 1)
        return tf.reduce_sum(distances) / (2.0 * ordered_pairs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        columns = self.num_classes * self.per_class
        columns *= 2 if self.similarity == "product_and_length" else 1
        return (*input_shape[:-1], columns)

    def compute_output_spec(self, inputs: Any) -> Any:
        dtype = "float64" if "float64" in str(inputs.dtype) else "float32"
        return compat.symbolic(self.compute_output_shape(tuple(inputs.shape)), dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "per_class": self.per_class,
            "similarity": self.similarity,
            "normalize": self.normalize,
            "merge": self.merge,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
        }


def proxy_initializer(initializer):
    """Returns a Keras initializer of rows; by default of mean squared length 1."""
    if initializer is None:
        return keras.initializers.VarianceScaling(
            scale=1.0, mode="fan_out", distribution="untruncated_normal"
        )
    return keras.initializers.get(initializer)


def _lengths(rows):
    return safe_sqrt(tf.reduce_sum(tf.square(rows), axis=1))
