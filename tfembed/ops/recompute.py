"""Sums over many steps that remember nothing of a step but its inputs."""

import tensorflow as tf


def sum_of_steps(step, steps, initial, inputs):
    """Computes `initial + sum{step(i, *inputs) : 0 <= i < steps}`.

    The backward pass computes each step again instead of keeping what it made, so
    that memory does not grow with the number of steps.

    Args:
        step: `step(i, *inputs)` returns a list of tensors like `initial`; `i` is an
            int32 scalar. What it needs the gradient of is in `inputs`: anything else
            that it refers to is a constant. It must not talk to other replicas.
        steps: Number of steps, an integer or an int32 scalar.
        initial: List of tensors, constants.
        inputs: List of float tensors.

    Returns:
        A list of tensors like `initial`.
    """

    @tf.custom_gradient
    def total(*inputs):
        def forward(i, *sums):
            parts = step(i, *inputs)
            return (i + 1, *[a + b for a, b in zip(sums, parts)])

        _, *sums = tf.while_loop(
            lambda i, *_: i < steps,
            forward,
            (tf.constant(0), *initial),
            parallel_iterations=1,
        )

        def gradient(*upstream):
            def backward(i, *gradients):
                # Apart, where two inputs are one tensor: each has its own gradient.
                own_inputs = [tf.identity(value) for value in inputs]
                with tf.GradientTape() as tape:
                    tape.watch(own_inputs)
                    parts = step(i, *own_inputs)
                own = tape.gradient(
                    parts,
                    own_inputs,
                    output_gradients=list(upstream),
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                return (i + 1, *[a + b for a, b in zip(gradients, own)])

            _, *gradients = tf.while_loop(
                lambda i, *_: i < steps,
                backward,
                (tf.constant(0), *[tf.zeros_like(value) for value in inputs]),
                parallel_iterations=1,
            )
            return gradients

        return sums, gradient

    return total(*inputs)
