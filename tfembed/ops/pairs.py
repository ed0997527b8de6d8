"""Every row of a batch against every reference: the frame of all pair losses.

The references are the batch itself, the batches of the other replicas, or what a
queue remembers: a loss is written once, as a function of `Pairs`.
"""

import functools

import tensorflow as tf

from tfembed.ops import distances, replicas
from tfembed.ops.arguments import check_count
from tfembed.ops.draws import row_keys
from tfembed.ops.floats import widen
from tfembed.ops.ignored_labels import check_ignored, kept_rows, share_of_kept
from tfembed.ops.labels import flat_labels, same_label
from tfembed.ops.recompute import sum_of_steps
from tfembed.ops.unit_rows import unit_rows
from tfembed.ops.zero_rows import at_least_one_row, first_rows


class Similarities:
    """Cosine similarities in place of embeddings, for what depends on them alone.

    A pair loss takes it as its `embeddings`: how the loss weighs a pair is then its
    gradient with respect to `values`.

    Args:
        values: `(batch, batch)`, float; row i is anchor i against every row. With
            references, `(batch, refs)`. On several replicas with references alone.
        of: `(batch, dim)`: the embeddings that they are of, for what draws by them.
    """

    def __init__(self, values, of=None):
        self.values = widen(values)
        self.of = None if of is None else widen(of)


class References:
    """References that are not all there, or that the anchors are among.

    A pair loss takes it as its `ref_embeddings`: a slot that is empty then makes no
    pair, and neither does an anchor with itself.

    Args:
        embeddings: `(refs, dim)`, float.
        present: `(refs,)`, bool: False for what is to count as not there. `None`: all
            are.
        own: `(batch,)`, int32: which reference is the anchor itself; -1 for none.
            `None`: none is.
    """

    def __init__(self, embeddings, present=None, own=None):
        self.embeddings = embeddings
        self.present = present
        self.own = own


class Pairs:
    """Anchors (rows) against references (columns).

    Attributes:
        anchors: `(rows, dim)`, float32 or float64; unit rows where the loss asked for
            them. `None` where only similarities were given.
        refs: `(refs, dim)`, or `None`, likewise.
        positive: `(rows, refs)`, bool: equal labels, but not the row itself.
        negative: `(rows, refs)`, bool: other labels.
        itself: `(rows, refs)`, bool: the reference is the anchor itself.
        complete: Whether every pair is positive or negative: nothing is left out.
        row_inputs: List of `(rows, ...)` tensors, what the loss passed along.
        ref_inputs: List of `(refs, ...)` tensors, likewise.
        row_keys: `(rows,)`, float64: hashes of the embeddings as they were given, see
            `ops.draws`; `None` where neither the loss nor its miner draws.
        ref_keys: `(refs,)`, likewise.
        dim: Number of the embeddings' dimensions; `None` where it is not known.
    """

    def __init__(
        self,
        anchors,
        refs,
        positive,
        negative,
        itself,
        row_inputs=(),
        ref_inputs=(),
        similarity=None,
    ):
        self.anchors = anchors
        self.refs = refs
        self.positive = positive
        self.negative = negative
        self.itself = itself
        self.complete = True
        self.row_inputs = list(row_inputs)
        self.ref_inputs = list(ref_inputs)
        self.row_keys = self.ref_keys = None
        self.dim = None if anchors is None else anchors.shape[1]
        self._similarity = similarity

    def keep(self, positive, negative):
        """Leaves out every pair that is in neither of two masks."""
        self.positive &= positive
        self.negative &= negative
        self.complete = False

    @functools.cached_property
    def similarity(self):
        """Inner products `(rows, refs)`: cosines where the rows have unit length."""
        if self._similarity is not None:
            return self._similarity
        return distances.inner_products(self.anchors, self.refs)

    @functools.cached_property
    def squared_distance(self):
        """Squared Euclidean distances, `(rows, refs)`."""
        if self._similarity is not None:
            return distances.from_similarities(self._similarity)
        return distances.squared_distances(self.anchors, self.refs)

    @functools.cached_property
    def distance(self):
        """Euclidean distances, `(rows, refs)`."""
        return distances.safe_sqrt(self.squared_distance)


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


def _outputs(
    rows,
    shapes,
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
    """Returns the outputs of `rows`, and the size of the global batch.

    An output is `(rows, ...)`; `shapes` are their shapes without the rows.
    """
    ignored = getattr(miner, "ignore_label", None)
    if ignored is not None:
        check_ignored(labels, ignored)
    labels = flat_labels(labels)
    given = isinstance(embeddings, Similarities)
    own = present = None
    if isinstance(ref_embeddings, References):
        own, present = ref_embeddings.own, ref_embeddings.present
        ref_embeddings = ref_embeddings.embeddings
    anchors = embeddings.values if given else widen(embeddings)
    check_pairs(labels, anchors, ref_labels, ref_embeddings, given, row_chunk)
    closed = ref_labels is None
    batch = tf.shape(anchors)[0]
    first, total = replicas.position(batch)
    draws = draws or getattr(miner, "draws", False)
    if draws:  # by the bits as given: compilers round what is computed each their way
        keys, ref_keys = _keys(embeddings, anchors, ref_embeddings, closed)
        row_inputs = [*row_inputs, keys]
        ref_inputs = [*ref_inputs, ref_keys]
    if normalize and not given:
        anchors = unit_rows(anchors)
    if given:
        refs, ref_labels = None, labels if closed else flat_labels(ref_labels)
    elif closed:
        refs, ref_labels, *ref_inputs = replicas.gather(anchors, labels, *ref_inputs)
    else:
        ref_labels = flat_labels(ref_labels)
        refs = tf.cast(widen(ref_embeddings), anchors.dtype)
        refs = unit_rows(refs) if normalize else refs

    # From here on there is an anchor and a reference; what is added is cut again.
    if not closed and not ref_labels.shape[0]:
        if present is None:
            present = tf.ones_like(ref_labels, tf.bool)
        (present,) = at_least_one_row(present)  # what is added is not there
    known = anchors.shape[0]
    same_rows = refs is anchors
    labels, anchors, *row_inputs = at_least_one_row(labels, anchors, *row_inputs)
    ref_labels, *ref_inputs = at_least_one_row(ref_labels, *ref_inputs)
    if given:
        anchors, *ref_inputs = _at_least_one_column(anchors, *ref_inputs)
    else:
        refs = anchors if same_rows else at_least_one_row(refs)[0]
    if own is not None:
        (own,) = at_least_one_row(own)

    def of_block(numbers, labels, anchors, refs, row_inputs, ref_inputs):
        same = same_label(labels, ref_labels)
        columns = tf.range(tf.shape(ref_labels)[0])
        itself, masks = tf.zeros_like(same), []
        if closed:
            itself = (first + numbers)[:, None] == columns[None, :]
        elif own is not None:
            itself = tf.gather(own, tf.maximum(numbers, 0))[:, None] == columns[None, :]
        if closed or own is not None:
            masks.append(~itself)
        if present is not None:
            masks.append(present[None, :])
        if ignored is not None:
            kept = kept_rows(labels, ignored)
            masks += [kept[:, None], kept_rows(ref_labels, ignored)[None, :]]
        if row_chunk is not None:  # not what fills up the last block
            there = (numbers >= 0)[:, None]
            itself &= there
            masks.append(there)
        pairs = Pairs(
            None if given else anchors,
            refs,
            same,
            ~same,
            itself,
            row_inputs,
            ref_inputs,
            similarity=anchors if given else None,
        )
        if masks:
            others = functools.reduce(tf.logical_and, masks)
            pairs.keep(others, others)
        if given and embeddings.of is not None:
            pairs.dim = embeddings.of.shape[1]
        if draws:
            pairs.row_keys = tf.stop_gradient(pairs.row_inputs.pop())
            pairs.ref_keys = tf.stop_gradient(pairs.ref_inputs.pop())
        if miner is not None:
            pairs.keep(*miner(pairs))
        values = [tf.cast(value, anchors.dtype) for value in rows(pairs)]
        if ignored is not None:
            values = [_where_kept(kept, value) for value in values]
        return values

    numbers = tf.range(tf.shape(anchors)[0])
    block = numbers, labels, anchors, refs, row_inputs, ref_inputs
    if row_chunk is None:
        values = of_block(*block)
    else:
        size = _rows_of_block(int(row_chunk), ref_labels)
        values = _in_blocks(of_block, shapes, size, *block)
    if not known:
        values = [first_rows(value, batch) for value in values]
    return values, total


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


# Larger blocks are hardly faster, and the C library keeps much of what their tensors
# leave behind: twice as much as there ever was at once.
_PAIRS_OF_BLOCK = 2**19


def _rows_of_block(row_chunk, ref_labels):
    """Returns how many rows a block gets: an integer, or a tensor if refs is one."""
    refs = ref_labels.shape[0]
    if refs is not None:
        return min(row_chunk, max(_PAIRS_OF_BLOCK // max(refs, 1), 1))
    rows = _PAIRS_OF_BLOCK // tf.maximum(tf.shape(ref_labels)[0], 1)
    return tf.clip_by_value(rows, 1, row_chunk)


def _in_blocks(
    of_block, shapes, size, numbers, labels, anchors, refs, row_inputs, ref_inputs
):
    """Computes the outputs block by block; see `over_pairs`."""
    batch = tf.shape(numbers)[0]
    blocks = (batch + size - 1) // size

    def fill(values, constant=0):
        rest = [[0, 0]] * (values.shape.rank - 1)
        ends = [[0, blocks * size - batch], *rest]
        return tf.pad(values, ends, constant_values=constant)

    numbers, labels = fill(numbers, -1), fill(labels)
    by_row = [fill(value) for value in (anchors, *row_inputs)]
    by_ref = [*([] if refs is None else [refs]), *ref_inputs]
    nothing = [tf.zeros([blocks * size, *shape], anchors.dtype) for shape in shapes]

    def step(i, *inputs):
        def part(values):
            rest = values.shape.rank - 1
            return tf.slice(values, [i * size, *[0] * rest], [size, *[-1] * rest])

        anchors, *row_inputs = [part(value) for value in inputs[: len(by_row)]]
        ref_inputs = list(inputs[len(by_row) :])
        own_refs = None if refs is None else ref_inputs.pop(0)
        where = (i * size + tf.range(size))[:, None]
        values = of_block(
            part(numbers), part(labels), anchors, own_refs, row_inputs, ref_inputs
        )
        return [
            tf.tensor_scatter_nd_update(zeros, where, value)
            for zeros, value in zip(nothing, values)
        ]

    sums = sum_of_steps(step, blocks, nothing, [*by_row, *by_ref])
    return [value[:batch] for value in sums]


def check_pairs(
    labels, embeddings, ref_labels=None, ref_embeddings=None, given=False, chunk=None
):
    """Refuses arguments of a pair loss that do not fit together."""
    shape = embeddings.shape
    if shape.rank != 2:
        raise ValueError(
            "`embeddings` must have the shape `(batch, dim)`. "
            f"Received: shape {tuple(shape)}."
        )
    _check_lengths("labels", labels.shape, "embeddings", shape)
    if (ref_labels is None) != (ref_embeddings is None) and not given:
        raise ValueError(
            "`ref_labels` and `ref_embeddings` come together, or not at all. Received: "
            f"{'ref_embeddings' if ref_labels is None else 'ref_labels'} alone."
        )
    if given and ref_labels is None and replicas.in_replica():
        raise ValueError(
            "`Similarities` of a batch in itself must stand in one place. Received: "
            "`Similarities` on one of several replicas. Give embeddings, or "
            "similarities to references with `ref_labels`."
        )
    if ref_embeddings is not None:
        refs = tf.convert_to_tensor(ref_embeddings).shape
        if refs.rank != 2 or not refs[1:].is_compatible_with(shape[1:]):
            raise ValueError(
                "`ref_embeddings` must have the shape `(refs, dim)`, dim as in "
                f"`embeddings`. Received: shapes {tuple(refs)} and {tuple(shape)}."
            )
        _check_lengths(
            "ref_labels", flat_labels(ref_labels).shape, "ref_embeddings", refs
        )
    if chunk is not None:  # for the whole batch at once
        check_count(row_chunk=chunk)


def _check_lengths(name, shape, other, other_shape):
    if not shape[:1].is_compatible_with(other_shape[:1]):
        raise ValueError(
            f"`{name}` and `{other}` must have equally many rows. "
            f"Received: {shape[0]} and {other_shape[0]}."
        )


def closed_batch(loss, ref_labels, ref_embeddings):
    """Refuses references for a loss of a closed set.

    Raises:
        ValueError: If references are given.
    """
    if ref_labels is not None or ref_embeddings is not None:
        raise ValueError(
            f"`{loss}` compares the rows of a batch with each other, and takes no "
            "references. Received: `ref_labels` or `ref_embeddings`. Leave them out, "
            "or choose a loss of pairs or triplets."
        )
