"""What the Keras classes of the losses have in common."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tfembed import compat
from tfembed.hints import Label, Labels, Rows
from tfembed.losses.constructor import give_constructor, names_of
from tfembed.ops.arguments import check_count
from tfembed.ops.ignored_labels import share_of_kept
from tfembed.ops.ignored_rows import without_rows
from tfembed.ops.labels import may_be_rounded
from tfembed.ops.pairs import References
from tfembed.ops.replicas import global_batch_mean
from tfembed.ops.zero_rows import at_least_one_row

REDUCTIONS = ("sum_over_batch_size", "sum", "none")


class FunctionalLoss(compat.LabelLoss):
    """A Keras loss around a pure function of labels and embeddings.

    A subclass names its `function`, and with `check` what refuses settings:

        @keras.utils.register_keras_serializable(package="mine")
        class Circle(FunctionalLoss):
            function = staticmethod(circle)
            check = staticmethod(_check)

    Its constructor follows: the settings of the function, which are all its arguments
    but labels, embeddings and references, in their order and with their defaults, then
    `reduction` and `name` (by default the function's). A check takes some of the
    settings, by their names, and is called before any is kept. A subclass that has an
    `__init__` of its own hands all of this to the one here, by keyword.

    Every subclass takes `ignore_label=` besides its own arguments: rows of that label
    are as if they were not there, neither anchors nor references. The loss is the mean
    over the rows that remain, of all replicas. (Their number is not known beforehand,
    so that XLA does not compile it.)

    Args:
        reduction: `"sum_over_batch_size"`, `"sum"` or `"none"`.
        name: Name of the loss.
        **hyperparameters: Keyword arguments of the function; each becomes an
            attribute, and stands in the config.
    """

    function: Any = None
    check: Any = staticmethod(lambda: None)
    ignore_label: Label | None = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        give_constructor(cls, FunctionalLoss)

    def __init__(
        self, *, reduction: str, name: str | None, **hyperparameters: Any
    ) -> None:
        checked = names_of(type(self).check)
        if checked <= set(hyperparameters):
            type(self).check(**{key: hyperparameters[key] for key in checked})
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}, which "
                f"both Kerases know. Received: reduction={reduction!r}."
            )
        names = ("per_class", "row_chunk")  # of all losses on proxies, of all others
        counts = {each: hyperparameters.get(each) for each in names}
        check_count(
            **{name: value for name, value in counts.items() if value is not None}
        )
        super().__init__(reduction=reduction, name=name)
        self._hyperparameters = tuple(hyperparameters)
        for key, value in hyperparameters.items():
            if isinstance(value, dict) and "class_name" in value:  # from a config
                value = keras.utils.deserialize_keras_object(value)
            setattr(self, key, value)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keyword arguments of the function, by name, as they are now."""
        return {key: getattr(self, key) for key in self._hyperparameters}

    def per_row(
        self,
        labels: Labels,
        embeddings: Rows,
        ref_labels: Labels | None = None,
        ref_embeddings: Rows | References | None = None,
    ) -> tf.Tensor:
        """Returns `(batch,)`, the function's value with this loss's settings.

        Args:
            labels: As in the function.
            embeddings: Likewise.
            ref_labels: Likewise, for a loss that takes references.
            ref_embeddings: Likewise.
        """
        references = {}
        if ref_labels is not None or ref_embeddings is not None:
            references = {"ref_labels": ref_labels, "ref_embeddings": ref_embeddings}
        function = functools.partial(type(self).function, **self.hyperparameters)
        if self.ignore_label is None:
            return function(labels, embeddings, **references)
        return without_rows(
            function, self.ignore_label, labels, embeddings, **references
        )

    def call(self, y_true: Labels, y_pred: Rows) -> tf.Tensor:
        losses = self.per_row(y_true, y_pred)
        rounded = may_be_rounded(tf.convert_to_tensor(y_true))
        if rounded is not None:  # where XLA dropped the assertion
            losses = tf.where(rounded, tf.constant(float("nan"), losses.dtype), losses)
        if self.reduction == "sum_over_batch_size":
            if self.ignore_label is not None:
                losses *= share_of_kept(y_true, self.ignore_label, losses.dtype)
            # The mean of a replica without rows is 0, where Keras 3 divides by 0.
            return at_least_one_row(global_batch_mean(losses))[0]
        return losses

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key, value in self.hyperparameters.items():
            if isinstance(value, tf.Variable):
                value = compat.number(value)
            elif hasattr(value, "get_config"):
                value = keras.utils.serialize_keras_object(value)
            config[key] = value
        return {**config, "ignore_label": self.ignore_label}
