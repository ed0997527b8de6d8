"""NormSoftmax, CosFace and ArcFace over very many classes, streamed."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.layers.endpoint import ClassEndpoint, embedding_dim
from tfembed.layers.proxies import proxy_initializer
from tfembed.ops.angles import BEYOND_PI, cosine_of_wider_angle
from tfembed.ops.arguments import (
    check_choice,
    check_count,
    check_number,
    check_positive,
)
from tfembed.ops.streamed_softmax import trained_softmax
from tfembed.ops.unit_rows import unit_rows

FORMS = ("norm_softmax", "cosface", "arcface")
MARGINS = {"norm_softmax": 0.0, "cosface": 0.35, "arcface": 0.5}


@keras.utils.register_keras_serializable(package="tfembed")
class ProxySoftmax(ClassEndpoint):
    """A softmax over trained proxies of the classes, never `(batch, num_classes)`.

    An endpoint layer: it takes `[embeddings, labels]`, adds its loss to the model and
    passes the embeddings through. Value and gradients are those of `Proxies` followed
    by a loss of the same name; but the proxies are streamed in blocks, in the forward
    pass and again in the backward pass, so that a million classes fit.

        z[i, c] = S[i, c] / temperature, S the cosine of embedding i and proxy c
        z[i, labels[i]] = own(S[i, labels[i]]) / temperature
        loss[i] = -log softmax(z[i])[labels[i]]

        form            own(S)
        "norm_softmax"  S
        "cosface"       S - margin
        "arcface"       cos(arccos(S) + margin), see `tfembed.losses.arcface`

    The loss is the mean over the global batch. The proxies `(num_classes, dim)` are a
    weight of the layer, float32, which the model's optimizer trains with a dense
    gradient. Labels travel as a model input, as integers.

    >>> images = keras.Input((8,))
    >>> labels = keras.Input((), dtype="int64")
    >>> embeddings = keras.layers.Dense(4)(images)
    >>> arcface = ProxySoftmax(num_classes=1000, form="arcface", temperature=1 / 64)
    >>> model = keras.Model([images, labels], arcface([embeddings, labels]))
    >>> model.compile("sgd")

    Args:
        num_classes: Number of classes.
        form: `"norm_softmax"`, `"cosface"` or `"arcface"`.
        temperature: Divides the cosines; 1 / scale of the margin losses, whose papers
            have a scale of 64.
        margin: Of the form; `None`: its default, 0.35 for CosFace and 0.5, in radians,
            for ArcFace.
        beyond_pi: As in `tfembed.losses.arcface`.
        initializer: Keras initializer of the proxies; by default as in `Proxies`.
        regularizer: Keras regularizer of the proxies.

    Call arguments:
        inputs: `[embeddings, labels]`: `(batch, dim)` floats of any length; `(batch,)`
            integers in `[0, num_classes)`. A third one, `(batch,)` floats, multiplies
            each row's loss.

    Returns:
        The embeddings, unchanged.

    Raises:
        TypeError: If the labels are not integers.
        tf.errors.InvalidArgumentError: If a label is out of range. Under XLA the loss
            is NaN instead.

    Reference: Zhai and Wu, 2019 (https://arxiv.org/abs/1811.12649); Wang et al., 2018
    (https://arxiv.org/abs/1801.09414); Deng et al., 2019
    (https://arxiv.org/abs/1801.07698).
    """

    def __init__(
        self,
        num_classes: int,
        form: str = "norm_softmax",
        temperature: float = 0.05,
        margin: float | None = None,
        beyond_pi: str = "shifted",
        initializer: str | keras.initializers.Initializer | None = None,
        regularizer: str | keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice(FORMS, form=form)
        check_choice(BEYOND_PI, beyond_pi=beyond_pi)
        check_positive(temperature=temperature)
        check_count(num_classes=num_classes)
        if margin is not None:
            check_number(margin=margin)
            allowed = form == "cosface" or margin == 0
            if not allowed and not (form == "arcface" and 0 <= margin <= math.pi / 2):
                raise ValueError(
                    "`margin` must be None or 0 for form='norm_softmax', and in "
                    "radians, from 0 to pi / 2, for form='arcface'. "
                    f"Received: margin={margin} and form={form!r}."
                )
        super().__init__(num_classes, **kwargs)
        self.form = form
        self.temperature = temperature
        self.margin = margin
        self.beyond_pi = beyond_pi
        self.initializer = proxy_initializer(initializer)
        self.regularizer = keras.regularizers.get(regularizer)

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.proxies = compat.add_float32_weight(
            self,
            "proxies",
            (self.num_classes, embedding_dim(input_shape)),
            self.initializer,
            self.regularizer,
        )
        self.built = True

    def row_losses(
        self, embeddings: tf.Tensor, ids: tf.Tensor, training: bool
    ) -> tf.Tensor:
        return trained_softmax(
            unit_rows(embeddings),
            compat.variable(self.proxies),
            ids,
            self.temperature,
            unit=True,
            own=None if self.form == "norm_softmax" else self._own,
        )

    def _own(self, cosine):
        margin = MARGINS[self.form] if self.margin is None else self.margin
        if self.form == "arcface":
            return cosine_of_wider_angle(cosine, margin, self.beyond_pi)
        return cosine - margin

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "form": self.form,
            "temperature": compat.plain(self.temperature),
            "margin": self.margin,
            "beyond_pi": self.beyond_pi,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
        }
