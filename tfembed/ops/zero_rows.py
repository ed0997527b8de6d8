"""A batch of no rows, which no network and no product may see.

TensorFlow's oneDNN kernels answer zero rows in a shape that is not theirs, fail, or end
the process; which of them do depends on the processor. So what has no rows gets one, of
zeros, and the answer is cut to none again.

What has rows is not copied: TensorFlow passes the buffer on where it pads by nothing or
slices everything, forward and backward. Where the number of rows is known beforehand
there is no operation at all.
"""

import tensorflow as tf


def at_least_one_row(*tensors):
    """Adds a row of zeros, or of empty strings, to each tensor that has none.

    Args:
        *tensors: `(rows, ...)`, of known rank.

    Returns:
        A list of tensors like them, of at least one row.
    """
    return [_filled(tf.convert_to_tensor(tensor)) for tensor in tensors]


def around_zero_rows(function, *tensors):
    """Calls a function of rows such that it sees at least one.

    Args:
        function: Returns tensors, or a structure of them, whose first axis is the rows.
            It must store nothing, and not talk to other replicas.
        *tensors: What it is called with: `(rows, ...)`, as many rows in each.

    Returns:
        What it returns, of as many rows as the tensors have.
    """
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    outputs = function(*at_least_one_row(*tensors))
    if tensors[0].shape[0]:
        return outputs
    rows = tf.shape(tensors[0])[0]
    return tf.nest.map_structure(lambda output: first_rows(output, rows), outputs)


def first_rows(tensor, rows):
    """Returns the first rows of a tensor; all of them without a copy.

    Args:
        tensor: `(at least rows, ...)`, of known rank.
        rows: An integer or a scalar int32 tensor.
    """
    rest = tensor.shape.rank - 1
    cut = tf.slice(tensor, [0] * (rest + 1), [rows, *[-1] * rest])
    return tf.ensure_shape(cut, [None, *tensor.shape[1:]])


def _filled(tensor):
    rows = tensor.shape[0]
    if rows:
        return tensor
    missing = 1 if rows == 0 else tf.cast(tf.equal(tf.shape(tensor)[0], 0), tf.int32)
    filled = tf.pad(tensor, [[0, missing], *[[0, 0]] * (tensor.shape.rank - 1)])
    filled.set_shape([1 if rows == 0 else None, *tensor.shape[1:]])
    return filled
