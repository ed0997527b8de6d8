"""Refuses inputs of shapes that a graph was not built for: in the graph, as it runs.

A server need not compare what it is sent with the declared shapes; TF Serving does not.
A network that pools over the whole image then embeds one of any size, with no error,
and a list of one row serves for all queries.

TensorFlow takes the declared shape for granted when it optimises a graph, and would
drop a comparison with it as always true. So the shape is read behind a
`PlaceholderWithDefault` that declares none, and what follows waits for the comparison.
"""

import tensorflow as tf

_ADVICE = {
    "images": "Resize them, or send their files as image_bytes, which the model "
    "resizes itself.",
    "embeddings": "Embed the images with this model.",
}


def as_declared(inputs, specs):
    """Returns the inputs of a signature, once they have the shapes that it declares.

    Args:
        inputs: `{name: tensor}`.
        specs: Their `tf.TensorSpec`s, in the same order, the batch first.

    Returns:
        List of tensors. Running them fails with INVALID_ARGUMENT and a sentence where
        an input has another rank or another fixed side, or not as many rows as the
        first.
    """
    opaque = [
        tf.raw_ops.PlaceholderWithDefault(input=value, shape=tf.TensorShape(None))
        for value in inputs.values()
    ]
    rows = [
        _rows_of_shape(
            tf.shape(value),
            [side or -1 for side in spec.shape],
            name,
            _said(spec),
            f" {_ADVICE[name]}" if name in _ADVICE else "",
        )
        for name, value, spec in zip(inputs, opaque, specs)
    ]
    with tf.control_dependencies(rows):  # which say more, where both are wrong
        names = list(inputs)
        as_many = _require_rows(tf.stack(rows), names, names[0])
    with tf.control_dependencies([as_many]):
        return [
            tf.ensure_shape(tf.identity(value), spec.shape)
            for value, spec in zip(opaque, specs)
        ]


# Functions of their own, so that a graph holds them once, however many inputs it has.


@tf.function(
    input_signature=[
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.string),
    ],
    autograph=False,
)
def _rows_of_shape(shape, wanted, name, said, advice):
    """The rows of an input, once it has the shape that is wanted, -1 for any side."""
    count = tf.size(wanted)
    sides = tf.pad(shape, [[0, count]])[:count]
    fits = tf.reduce_all((sides == wanted) | tf.less(wanted, 0))
    fits &= tf.size(shape) == count
    received = _listed(shape, ", ")
    words = ["`", name, "` must have the shape ", said, ". Received: (", received]
    sentence = tf.strings.join([*words, ").", advice])
    with tf.control_dependencies([tf.debugging.Assert(fits, [sentence])]):
        return tf.identity(sides[0])


@tf.function(
    input_signature=[
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([], tf.string),
    ],
    autograph=False,
)
def _require_rows(rows, names, first):
    """Whether all inputs have as many rows, once they have."""
    others = rows != rows[0]
    place = tf.argmax(others)  # of the first that has not
    received = _listed([tf.gather(rows, place), rows[0]], " and ")
    words = ["`", tf.gather(names, place), "` must have as many rows as ", first]
    sentence = tf.strings.join([*words, ". Received: ", received, "."])
    few = tf.debugging.Assert(~tf.reduce_any(others), [sentence])
    with tf.control_dependencies([few]):
        return tf.constant(True)


def _listed(numbers, separator):
    return tf.strings.reduce_join(tf.strings.as_string(numbers), separator=separator)


def _said(spec):
    sides = ["any" if side is None else str(side) for side in spec.shape]
    sides[0] = "batch"
    return "(" + ", ".join(sides) + ("," if len(sides) == 1 else "") + ")"
