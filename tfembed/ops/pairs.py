"""Every row of a batch against every reference: the frame of all pair losses.

The references are the batch itself, the batches of the other replicas, or what a
queue remembers: a loss is written once, as a function of `Pairs`.
"""

import functools

import tensorflow as tf

from tfembed.ops import distances, replicas
from tfembed.ops.draws import row_keys
from tfembed.ops.floats import widen
from tfembed.ops.ignored_labels import check_ignored, kept_rows, share_of_kept
from tfembed.ops.labels import flat_labels, same_label
from tfembed.ops.pair_checks import check_pairs
from tfembed.ops.pair_types import Pairs, References, Similarities
from tfembed.ops.row_blocks import in_blocks, rows_of_block
from tfembed.ops.unit_rows import unit_rows
from tfembed.ops.zero_rows import at_least_one_row, first_rows

__all__ = [
    "Pairs",
    "References",
    "Similarities",
    "of_each_row",
    "over_pairs",
    "over_terms",
    "similarities_once",
    "sum_over_rows",
]


def similarities_once(labels, embeddings):
    """Returns the similarities of a batch that stands in one place as a whole.

    For a loss that goes through the pairs more than once: their products are made
    once, and so is their gradient.

    Args:
        labels: `(batch,)` or `(batch, 1)`.
        embeddings: `(batch, dim)`, float, normalised here; or `Similarities`.

    Returns:
        `Similarities`; on several replicas the embeddings as they are.
    """
    if replicas.in_replica() or isinstance(embeddings, Similarities):
        return embeddings
    embeddings = widen(embeddings)
    check_pairs(flat_labels(labels), embeddings)
    rows = unit_rows(embeddings)
    return Similarities(distances.inner_products(rows, rows), of=embeddings)


def over_pairs(
    rows,
    labels,
    embeddings,
    ref_labels=None,
    ref_embeddings=None,
    *,
    normalize,
    row_inputs=(),
    ref_inputs=(),
    miner=None,
    draws=False,
    row_chunk=None,
):
    """Computes a loss row by row, each row against all references.

    Without references the rows of all replicas are the references, and each row
    leaves itself out.

    Args:
        rows: `rows(pairs)` returns the loss of each anchor, `(rows,)`. It is called
            with blocks of rows, at least one row and one reference (see
            `ops.zero_rows`), and must not talk to other replicas.
        labels: `(batch,)` or `(batch, 1)`, any dtype; equal labels are positives.
        embeddings: `(batch, dim)`, float; or `Similarities`.
        ref_labels: `(refs,)`, with `ref_embeddings`.
        ref_embeddings: `(refs, dim)`: compare with these instead; or `References`.
        normalize: Whether the embeddings are divided by their length first.
        row_inputs: Differentiable tensors `(batch, ...)` that `rows` finds, row by
            row, in `pairs.row_inputs`.
        ref_inputs: Differentiable tensors `(batch, ...)` that `rows` finds for all
            references in `pairs.ref_inputs`; only where the batch is its own
            reference.
        miner: `miner(pairs)` returns which positives and which negatives count, two
            masks like `pairs.positive`; `None`: all of them. Rows and references of
            its `ignore_label` are in no pair: such a row has the value 0, and the
            others are scaled so that the mean is that over the rows that remain.
        draws: Whether `rows` needs `pairs.row_keys` and `pairs.ref_keys`; a miner says
            so by its attribute `draws`.
        row_chunk: Rows of a block, at most: memory is O(row_chunk x refs) instead of
            O(batch x refs), and the backward pass computes each block again. With many
            references a block has fewer rows, about 2^19 pairs. `None`: one block.

    Returns:
        `(batch,)`, float32 or float64.

    Raises:
        ValueError: If shapes or arguments do not fit together.
    """
    settings = {
        "normalize": normalize,
        "row_inputs": row_inputs,
        "ref_inputs": ref_inputs,
        "miner": miner,
        "draws": draws,
        "row_chunk": row_chunk,
    }
    values = of_each_row(
        rows, labels, embeddings, ref_labels, ref_embeddings, **settings
    )
    ignored = getattr(miner, "ignore_label", None)
    if ignored is None:
        return values
    return values * share_of_kept(labels, ignored, values.dtype)


def of_each_row(rows, *batch, **settings):
    """Computes a value of each row, as `over_pairs`, that goes into no mean by itself.

    Args:
        rows: As in `over_pairs`.
        *batch: `labels, embeddings, ref_labels, ref_embeddings` as in `over_pairs`.
        **settings: The keyword arguments of `over_pairs`.

    Returns:
        `(batch,)`; 0 for rows that the miner ignores, the others as they are.
    """
    (values,), _ = _outputs(lambda pairs: [rows(pairs)], [()], *batch, **settings)
    return values


def over_terms(rows, *batch, **settings):
    """Computes a loss that is a mean over terms: pairs, triplets, or some rows.

    Args:
        rows: `rows(pairs)` returns `(sums, counts)`, both `(rows,)`: the sum of each
            anchor's terms and their number.
        *batch: `labels, embeddings, ref_labels, ref_embeddings` as in `over_pairs`.
        **settings: The keyword arguments of `over_pairs`.

    Returns:
        `(batch,)`: `sums * batch / sum(counts)`, batch and counts those of all
        replicas together, so that the mean over the global batch is the mean over all
        terms; 0 where there are none.
    """
    (sums, counts), total = _outputs(rows, [(), ()], *batch, **settings)
    counted = replicas.total(tf.reduce_sum(tf.stop_gradient(counts)))
    return sums * tf.math.divide_no_nan(tf.cast(total, sums.dtype), counted)


def sum_over_rows(rows, shape, *batch, **settings):
    """Sums up what a loss needs of each row before it can be computed.

    Args:
        rows: `rows(pairs)` returns a tensor `(rows, *shape)`.
        shape: Its shape without the rows.
        *batch: `labels, embeddings, ref_labels, ref_embeddings` as in `over_pairs`.
        **settings: The keyword arguments of `over_pairs`.

    Returns:
        `shape`: the sum over the rows of all replicas, with its gradient.
    """
    (values,), _ = _outputs(
        lambda pairs: [rows(pairs)], [tuple(shape)], *batch, **settings
    )
    (by_replica,) = replicas.gather(tf.reduce_sum(values, axis=0)[None])
    return tf.reduce_sum(by_replica, axis=0)


def _outputs(rows, shapes, *batch, row_chunk=None, **settings):
    """Returns the outputs of `rows`, and the size of the global batch.

    An output is `(rows, ...)`; `shapes` are their shapes without the rows.
    """
    frame = _Frame(*batch, row_chunk=row_chunk, **settings)

    def of_block(*block):
        return frame.values(rows, *block)

    if row_chunk is None:
        values = of_block(*frame.block)
    else:
        size = rows_of_block(int(row_chunk), frame.ref_labels)
        values = in_blocks(of_block, shapes, size, *frame.block)
    if not frame.known:
        values = [first_rows(value, frame.batch) for value in values]
    return values, frame.total


class _Frame:
    """A batch and its references, as the blocks of rows need them.

    There is an anchor and a reference, if need be one that was added and is in no pair.

    Attributes:
        batch: Number of rows, an int32 scalar; `known`: the same if it was known.
        total: That of all replicas.
        ref_labels: `(refs,)`.
        block: All rows as one block, the arguments of `values` after the first.
    """

    def __init__(
        self,
        labels,
        embeddings,
        ref_labels=None,
        ref_embeddings=None,
        *,
        normalize,
        row_inputs=(),
        ref_inputs=(),
        miner=None,
        draws=False,
        row_chunk=None,
    ):
        self.miner = miner
        self.ignored = getattr(miner, "ignore_label", None)
        if self.ignored is not None:
            check_ignored(labels, self.ignored)
        labels = flat_labels(labels)
        self.given = isinstance(embeddings, Similarities)
        self.own = self.present = None
        if isinstance(ref_embeddings, References):
            self.own, self.present = ref_embeddings.own, ref_embeddings.present
            ref_embeddings = ref_embeddings.embeddings
        anchors = embeddings.values if self.given else widen(embeddings)
        check_pairs(labels, anchors, ref_labels, ref_embeddings, self.given, row_chunk)
        self.of = embeddings.of if self.given else None
        self.closed = ref_labels is None
        self.in_blocks = row_chunk is not None
        self.batch, self.known = tf.shape(anchors)[0], anchors.shape[0]
        self.first, self.total = replicas.position(self.batch)
        self.draws = draws or getattr(miner, "draws", False)
        if self.draws:  # by the bits as given: compilers round what is computed
            keys, ref_keys = _keys(embeddings, anchors, ref_embeddings, self.closed)
            row_inputs = [*row_inputs, keys]
            ref_inputs = [*ref_inputs, ref_keys]
        if normalize and not self.given:
            anchors = unit_rows(anchors)
        if self.given:
            refs, ref_labels = None, labels if self.closed else flat_labels(ref_labels)
        elif self.closed:
            refs, ref_labels, *ref_inputs = replicas.gather(
                anchors, labels, *ref_inputs
            )
        else:
            ref_labels = flat_labels(ref_labels)
            refs = tf.cast(widen(ref_embeddings), anchors.dtype)
            refs = unit_rows(refs) if normalize else refs
        self._fill(labels, anchors, ref_labels, refs, row_inputs, ref_inputs)

    def _fill(self, labels, anchors, ref_labels, refs, row_inputs, ref_inputs):
        """Adds an anchor and a reference where there is none; keeps what is there."""
        if not self.closed and not ref_labels.shape[0]:
            if self.present is None:
                self.present = tf.ones_like(ref_labels, tf.bool)
            (self.present,) = at_least_one_row(self.present)  # what is added is not
        same_rows = refs is anchors
        labels, anchors, *row_inputs = at_least_one_row(labels, anchors, *row_inputs)
        self.ref_labels, *ref_inputs = at_least_one_row(ref_labels, *ref_inputs)
        if self.given:
            anchors, *ref_inputs = _at_least_one_column(anchors, *ref_inputs)
        else:
            refs = anchors if same_rows else at_least_one_row(refs)[0]
        if self.own is not None:
            (self.own,) = at_least_one_row(self.own)
        numbers = tf.range(tf.shape(anchors)[0])
        self.block = numbers, labels, anchors, refs, row_inputs, ref_inputs

    def values(self, rows, numbers, labels, anchors, *others):
        """Returns the outputs of `rows` for a block of anchors.

        Args:
            rows: A function of `Pairs`.
            numbers: `(rows,)`, int32: which rows of the batch, -1 for what fills up.
            labels: `(rows,)`.
            anchors: `(rows, dim)`, or `(rows, refs)` similarities.
            *others: The references or `None`, and lists of inputs by row and by
                reference.
        """
        pairs = self._pairs(numbers, labels, anchors, *others)
        values = [tf.cast(value, anchors.dtype) for value in rows(pairs)]
        if self.ignored is None:
            return values
        kept = kept_rows(labels, self.ignored)
        return [_where_kept(kept, value) for value in values]

    def _pairs(self, numbers, labels, anchors, refs, row_inputs, ref_inputs):
        same = same_label(labels, self.ref_labels)
        itself, masks = self._itself(numbers, same), []
        if self.closed or self.own is not None:
            masks.append(~itself)
        if self.present is not None:
            masks.append(self.present[None, :])
        if self.ignored is not None:
            masks.append(kept_rows(labels, self.ignored)[:, None])
            masks.append(kept_rows(self.ref_labels, self.ignored)[None, :])
        if self.in_blocks:  # not what fills up the last block
            there = (numbers >= 0)[:, None]
            itself &= there
            masks.append(there)
        pairs = Pairs(
            None if self.given else anchors,
            refs,
            same,
            ~same,
            itself,
            row_inputs,
            ref_inputs,
            similarity=anchors if self.given else None,
        )
        if masks:
            others = functools.reduce(tf.logical_and, masks)
            pairs.keep(others, others)
        if self.of is not None:
            pairs.dim = self.of.shape[1]
        if self.draws:
            pairs.row_keys = tf.stop_gradient(pairs.row_inputs.pop())
            pairs.ref_keys = tf.stop_gradient(pairs.ref_inputs.pop())
        if self.miner is not None:
            pairs.keep(*self.miner(pairs))
        return pairs

    def _itself(self, numbers, same):
        """Which reference is the anchor itself: `(rows, refs)`, bool."""
        columns = tf.range(tf.shape(self.ref_labels)[0])
        if self.closed:
            return (self.first + numbers)[:, None] == columns[None, :]
        if self.own is None:
            return tf.zeros_like(same)
        own = tf.gather(self.own, tf.maximum(numbers, 0))
        return own[:, None] == columns[None, :]


def _where_kept(kept, values):
    kept = tf.reshape(kept, [-1, *[1] * (values.shape.rank - 1)])
    return tf.where(kept, values, tf.zeros_like(values))


def _at_least_one_column(*tensors):
    """Adds a column to what has none; of vectors, nothing."""
    filled = []
    for tensor in tensors:
        if tensor.shape.rank == 2 and not tensor.shape[1]:
            (columns,) = at_least_one_row(tf.transpose(tensor))
            tensor = tf.transpose(columns)
        filled.append(tensor)
    return filled


def _keys(embeddings, values, ref_embeddings, closed):
    """Returns the hashes of the rows, and of the references."""
    ordered = True
    if isinstance(embeddings, Similarities):
        ordered = embeddings.of is not None
        values = embeddings.of if ordered else values
    keys = row_keys(values, ordered)
    if closed:
        return keys, keys
    if ref_embeddings is not None:
        return keys, row_keys(widen(ref_embeddings))
    return keys, row_keys(tf.transpose(embeddings.values), ordered=False)
