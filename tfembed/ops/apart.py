"""Parts of a graph that most inputs do not need, kept as calls of their own.

TensorFlow takes the branches of a `tf.cond` apart, and then visits each node of all of
them, run or not. A branch of a hundred nodes costs more than to decode a small image. A
function that is not inlined is one node until it is called.
"""

import functools

import tensorflow as tf

__all__ = ["apart"]


def apart(*signature):
    """Decorator: a function that stays a call of its own in every graph.

    Args:
        *signature: `tf.TensorSpec` of each argument.
    """

    def decorate(function):
        call = tf.function(
            function,
            input_signature=list(signature),
            autograph=False,
            experimental_attributes={"_noinline": True},
        )

        @functools.wraps(function)
        def either(*arguments):
            # Run at once, it needs no graph, and its errors say what is wrong.
            return (function if tf.executing_eagerly() else call)(*arguments)

        return either

    return decorate
