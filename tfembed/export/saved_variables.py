"""The variables of a SavedModel, read and rewritten without running its graph.

A SavedModel restores each variable from the value that stands under its key in the
checkpoint `variables/variables`. The variables that hold the gallery have no fixed
number of rows, so other values under the same keys are another gallery of the same
model, and `saved_model.pb` stays as it is, byte for byte.
"""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

_KEY = "/.ATTRIBUTES/VARIABLE_VALUE"
_SMALL = 1 << 20


def gallery_variables(version):
    """Returns `{name: (dtype, shape)}` of the variables that hold the gallery.

    They are the attributes of the served module itself; the encoder's variables stand
    in a list of it.

    Args:
        version: Folder of the SavedModel.
    """
    reader = tf.train.load_checkpoint(_prefix(version))
    shapes, dtypes = (
        reader.get_variable_to_shape_map(),
        reader.get_variable_to_dtype_map(),
    )
    keys = [key for key in dtypes if key.endswith(_KEY)]
    names = [key[: -len(_KEY)] for key in keys]
    return {
        name: (dtypes[name + _KEY], shapes[name + _KEY])
        for name in sorted(names)
        if "/" not in name
    }


def read_variables(version, names):
    """Reads variables of the gallery.

    Args:
        version: Folder of the SavedModel.
        names: Their names.

    Returns:
        `{name: tf.Tensor}`.

    Raises:
        ValueError: If one is not there.
    """
    held = gallery_variables(version)
    missing = sorted(set(names) - set(held))
    if missing:
        raise ValueError(
            f"{str(version)!r} must be a version that tfembed.export wrote. "
            f"Received: one without the variables {missing}. Export the model again."
        )
    with tf.device("CPU"):
        values = tf.raw_ops.RestoreV2(
            prefix=_prefix(version),
            tensor_names=[name + _KEY for name in names],
            shape_and_slices=[""] * len(names),
            dtypes=[held[name][0] for name in names],
        )
    return dict(zip(names, values))


def rewrite_variables(source, target, values):
    """Writes a checkpoint with other values for all variables of the gallery.

    What is no variable of the gallery (the encoder's weights, the description of the
    objects) is copied.

    Args:
        source: Folder of the SavedModel to take the rest from.
        target: Folder of the new one; its `variables/` is made.
        values: `{name: NumPy array}`, all variables of the gallery.

    Raises:
        ValueError: If `values` are not the variables that `source` has, with their
            dtypes and all but their first dimension.
        OSError, tf.errors.OpError: If it cannot be written.
    """
    held = gallery_variables(source)
    given = {name: _kind(value) for name, value in values.items()}
    wanted = {
        name: (dtype.name, len(shape), tuple(shape[1:]))
        for name, (dtype, shape) in held.items()
    }
    if given != wanted:
        wrong = sorted(
            name for name in {*given, *wanted} if given.get(name) != wanted.get(name)
        )
        raise ValueError(
            f"The values must be of the variables that {str(source)!r} has. Received: "
            + "; ".join(f"{n}: {given.get(n)}, not {wanted.get(n)}" for n in wrong)
            + ". Export the model again."
        )
    dtypes = tf.train.load_checkpoint(_prefix(source)).get_variable_to_dtype_map()
    kept = sorted(key for key in dtypes if key[: -len(_KEY)] not in values)
    os.makedirs(Path(target, "variables"))
    with tf.device("CPU"):
        tensors = tf.raw_ops.RestoreV2(
            prefix=_prefix(source),
            tensor_names=kept,
            shape_and_slices=[""] * len(kept),
            dtypes=[dtypes[key] for key in kept],
        )
        tf.raw_ops.SaveV2(
            prefix=_prefix(target),
            tensor_names=[*kept, *(name + _KEY for name in values)],
            shape_and_slices=[""] * (len(kept) + len(values)),
            tensors=[*tensors, *map(_tensor, values.values())],
        )


def unlike_variables(source, target):
    """Returns the keys of values that differ, but for the gallery's, sorted.

    Args:
        source: Folder of a SavedModel.
        target: Folder of another.
    """
    one, other = (tf.train.load_checkpoint(_prefix(each)) for each in (source, target))
    gallery = {name + _KEY for name in gallery_variables(source)}
    kinds, others = (
        {k: v for k, v in each.get_variable_to_dtype_map().items() if k not in gallery}
        for each in (one, other)
    )
    if kinds != others:
        return sorted(k for k in {*kinds, *others} if kinds.get(k) != others.get(k))
    return [key for key in sorted(kinds) if not _same(one, other, key)]


def _same(one, other, key):
    first, second = np.asarray(one.get_tensor(key)), np.asarray(other.get_tensor(key))
    if first.dtype == object or first.shape != second.shape:
        return first.shape == second.shape and first.tolist() == second.tolist()
    return first.tobytes() == second.tobytes()  # also where a weight is not a number


def _prefix(version):
    return str(Path(version, "variables", "variables"))


def _kind(value):
    value = np.asarray(value)
    text = value.dtype.kind in "SUO"
    name = "string" if text else tf.as_dtype(value.dtype).name
    return name, value.ndim, tuple(value.shape[1:])


def _tensor(value):
    """A tensor of an array; a large one shares its memory."""
    value = np.asarray(value)
    if value.nbytes < _SMALL or value.dtype.kind in "SUO" or not value.flags.writeable:
        return tf.constant(value)
    value = np.ascontiguousarray(value)
    if value.dtype == tf.bfloat16.as_numpy_dtype:
        return tf.bitcast(_shared(value.view(np.uint16)), tf.bfloat16)
    return _shared(value)


def _shared(value):
    return tf.experimental.dlpack.from_dlpack(value.__dlpack__())
