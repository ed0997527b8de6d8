"""Rows of a large variable, read and written without copying the rest of it.

Once a variable has been scattered into, any dense read of it (`read_value`, a
slice, a matmul with it) copies the whole of it. `ResourceGather` and
`ResourceScatterUpdate` on its handle do not.
"""

import tensorflow as tf


def read_rows(variable, rows):
    """Gathers rows of a variable.

    Args:
        variable: A `tf.Variable` of shape `(size, ...)`; inside a replica, the
            replica's own copy is read.
        rows: Integer tensor of row numbers.

    Returns:
        Tensor of shape `rows.shape + variable.shape[1:]`.
    """
    if tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context():
        return tf.gather(variable, rows)  # a mirrored variable has no handle here
    return tf.raw_ops.ResourceGather(
        resource=variable.handle, indices=rows, dtype=variable.dtype
    )


def write_rows(variable, rows, values):
    """Overwrites rows of a variable in place.

    Rows that are named several times must come with equal values. Only for
    replica context: each replica writes its own copy.

    Args:
        variable: A `tf.Variable` of shape `(size, ...)`.
        rows: Integer tensor of row numbers, `(count,)`.
        values: `(count, ...)`, in the variable's dtype.
    """
    tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=rows, updates=values
    )


def overwrite(variable, value):
    """Sets a small variable in replica context, each replica its own copy."""
    tf.raw_ops.AssignVariableOp(
        resource=variable.handle, value=tf.cast(value, variable.dtype)
    )
