"""What the replicas of a `tf.distribute` strategy know of each other."""

import tensorflow as tf


def in_replica():
    """Tells whether this code runs as one of several replicas."""
    return (
        not tf.distribute.in_cross_replica_context()
        and tf.distribute.get_replica_context().num_replicas_in_sync > 1
    )


def gather(*tensors):
    """Concatenates each tensor's rows over all replicas, in the replicas' order.

    The gradient of a gathered tensor is that of the sum of the replicas' losses.

    Args:
        *tensors: Tensors of shape `(rows, ...)`; the number of rows may differ
            between replicas. Half floats travel as float32, booleans as int32: the
            collectives know neither.

    Returns:
        A list of tensors `(all rows, ...)`, each in its dtype; on one replica, and
        outside of replicas, the tensors themselves.
    """
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    if not in_replica():
        return tensors
    context = tf.distribute.get_replica_context()
    gathered = []
    for tensor in tensors:
        wire = {
            tf.float16: tf.float32,
            tf.bfloat16: tf.float32,
            tf.bool: tf.int32,
        }.get(tensor.dtype, tensor.dtype)
        everyone = context.all_gather(tf.cast(tensor, wire), axis=0)
        if tensor.dtype.is_floating:
            everyone = _with_dense_gradient(everyone)
        gathered.append(tf.cast(everyone, tensor.dtype))
    return gathered


@tf.custom_gradient
def _with_dense_gradient(tensor):
    """Passes a tensor on; collectives know no gradient of some rows alone."""
    return tf.identity(tensor), tf.convert_to_tensor


def position(rows):
    """Locates this replica's rows in the global batch.

    Args:
        rows: Number of rows on this replica, an integer or a scalar tensor.

    Returns:
        The index of its first row, and the number of rows of all replicas, both
        int32 scalars; `(0, rows)` on one replica.
    """
    rows = tf.cast(rows, tf.int32)
    if not in_replica():
        return tf.constant(0), rows
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    # A sum of vectors with one entry each, and no `all_gather` of the number: that
    # gives back a value which is the same constant on all replicas as it is.
    own = rows * tf.one_hot(replica, context.num_replicas_in_sync, dtype=tf.int32)
    counts = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
    return tf.reduce_sum(counts[:replica]), tf.reduce_sum(counts)


def mean_over_batch(values):
    """Averages a per-row value so that N replicas train as one.

    Keras divides what a layer adds as its loss by the number of replicas N, and
    sums the gradients. That of this replica's sum divided by (rows of all replicas
    / N) makes it the gradient of the mean over the global batch, also where the
    replicas hold different numbers of rows. The value is that mean on every replica:
    Keras 3 reports it weighted by a replica's rows, Keras 2 unweighted.

    Args:
        values: `(rows,)`, float.

    Returns:
        A scalar; 0 for an empty global batch.
    """
    summed = tf.reduce_sum(values)
    if not in_replica():
        rows = tf.cast(tf.shape(values)[0], values.dtype)
        return tf.math.divide_no_nan(summed, rows)
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    _, rows = position(tf.shape(values)[0])
    rows = tf.cast(rows, values.dtype)
    mean = tf.math.divide_no_nan(total(summed), rows)
    slope = tf.math.divide_no_nan(tf.cast(replicas, values.dtype), rows)
    return _value_and_slope(summed, mean, slope)


def total(value):
    """Sums a value over all replicas, without a gradient.

    Args:
        value: Tensor of equal shape on all replicas.

    Returns:
        The sum, the same on all replicas.
    """
    value = tf.stop_gradient(value)
    if not in_replica():
        return value
    context = tf.distribute.get_replica_context()
    return tf.stop_gradient(context.all_reduce(tf.distribute.ReduceOp.SUM, value))


def global_batch_mean(losses):
    """Scales the gradient of a replica's losses, that Keras trains on the global mean.

    Keras averages over a replica's rows and divides by the number of replicas: too
    much weight for the rows of a replica that holds fewer of them. What it reports
    is right, weighted by the rows, so that the values stay what they are.

    Args:
        losses: `(rows,)`, float.

    Returns:
        `losses`; their gradient times `rows * replicas / rows of all replicas`.
    """
    if not in_replica():
        return losses
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    rows = tf.shape(losses)[0]
    _, everyone = position(rows)
    share = tf.cast(rows * replicas, losses.dtype) / tf.cast(everyone, losses.dtype)
    return _value_and_slope(losses, losses, share)


@tf.custom_gradient
def _value_and_slope(of, value, slope):
    """Returns `value`, whose gradient with respect to `of` is `slope`."""

    def gradient(upstream):
        return upstream * slope, None, None

    return tf.identity(value), gradient
