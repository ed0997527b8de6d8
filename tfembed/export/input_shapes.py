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
    shapes, counts, rows = [], [], []
    for name, value, spec in zip(inputs, opaque, specs):
        shape, wanted = tf.shape(value), [side or -1 for side in spec.shape]
        sides = tf.pad(shape, [[0, len(wanted)]])[: len(wanted)]
        fits = tf.reduce_all((sides == wanted) | tf.less(wanted, 0))
        fits &= tf.size(shape) == len(wanted)
        what = f"have the shape {_said(spec)}"
        shapes.append(_require(fits, name, what, ["(", _listed(shape, ", "), ")"]))
        rows.append(sides[0])
    with tf.control_dependencies(shapes):  # which say more, where both are wrong
        for name, count in list(zip(inputs, rows))[1:]:
            what = f"have as many rows as {next(iter(inputs))}"
            received = [_listed([count, rows[0]], " and ")]
            counts.append(_require(count == rows[0], name, what, received))
    with tf.control_dependencies(shapes + counts):
        return [
            tf.ensure_shape(tf.identity(value), spec.shape)
            for value, spec in zip(opaque, specs)
        ]


def _require(holds, name, what, received):
    advice = f" {_ADVICE[name]}" if name in _ADVICE else ""
    parts = [f"`{name}` must {what}. Received: ", *received, f".{advice}"]
    return tf.debugging.Assert(holds, [tf.strings.join(parts)])


def _listed(numbers, separator):
    return tf.strings.reduce_join(tf.strings.as_string(numbers), separator=separator)


def _said(spec):
    sides = ["any" if side is None else str(side) for side in spec.shape]
    sides[0] = "batch"
    return "(" + ", ".join(sides) + ("," if len(sides) == 1 else "") + ")"
