"""A function of rows and references in blocks of rows, to bound its memory."""

import tensorflow as tf

from tfembed.ops.recompute import sum_of_steps

# Larger blocks are hardly faster, and the C library keeps much of what their tensors
# leave behind: twice as much as there ever was at once.
_PAIRS_OF_BLOCK = 2**19


def rows_of_block(row_chunk, ref_labels):
    """Returns how many rows a block gets: an integer, or a tensor if refs is one."""
    refs = ref_labels.shape[0]
    if refs is not None:
        return min(row_chunk, max(_PAIRS_OF_BLOCK // max(refs, 1), 1))
    rows = _PAIRS_OF_BLOCK // tf.maximum(tf.shape(ref_labels)[0], 1)
    return tf.clip_by_value(rows, 1, row_chunk)


def in_blocks(
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
