"""Sums over many steps that remember nothing of a step but its inputs."""

import functools

import tensorflow as tf


def sum_of_steps(step, steps, initial, inputs):
    """Computes `initial + sum{step(i, *inputs) : 0 <= i < steps}`.

    The backward pass computes each step again instead of keeping what it made, so
    that memory does not grow with the number of steps.

    Args:
        step: `step(i, *inputs)` returns a list of tensors like `initial`; `i` is an
            int32 scalar. It must not talk to other replicas. What it needs the
            gradient of is in `inputs`; hyperparameters that it refers to, float
            tensors and variables, get theirs too.
        steps: Number of steps, an integer or an int32 scalar.
        initial: List of tensors, constants.
        inputs: List of float tensors.

    Returns:
        A list of tensors like `initial`.
    """
    referred = float_tensors_of(step)

    @tf.custom_gradient
    def total(*inputs_and_referred):
        inputs = inputs_and_referred[: len(inputs_and_referred) - len(referred)]

        def forward(i, *sums):
            parts = step(i, *inputs)
            return (i + 1, *[a + b for a, b in zip(sums, parts)])

        _, *sums = tf.while_loop(
            lambda i, *_: i < steps,
            forward,
            (tf.constant(0), *initial),
            parallel_iterations=1,
        )

        def gradient(*upstream, variables=None):
            variables = list(variables or [])

            def backward(i, *gradients):
                # Apart, where two inputs are one tensor: each has its own gradient.
                own_inputs = [tf.identity(value) for value in inputs]
                with tf.GradientTape() as tape:
                    tape.watch(own_inputs)
                    tape.watch(referred)
                    parts = step(i, *own_inputs)
                own = tape.gradient(
                    parts,
                    [*own_inputs, *referred, *variables],
                    output_gradients=list(upstream),
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                return (
                    i + 1,
                    *[a + tf.convert_to_tensor(b) for a, b in zip(gradients, own)],
                )

            nothing = [
                tf.zeros(tf.shape(value), value.dtype)
                for value in [*inputs, *referred, *variables]
            ]
            _, *gradients = tf.while_loop(
                lambda i, *_: i < steps,
                backward,
                (tf.constant(0), *nothing),
                parallel_iterations=1,
            )
            of_inputs = gradients[: len(inputs) + len(referred)]
            if variables:
                return of_inputs, gradients[len(of_inputs) :]
            return of_inputs

        return sums, gradient

    return total(*inputs, *referred)


def float_tensors_of(function):
    """Returns the float tensors that a function refers to, directly or by others.

    They are looked for in what functions close over, in the arguments of partials, and
    in lists and tuples; not in other objects.
    """
    found, seen = [], set()

    def look(value):
        if id(value) in seen:
            return
        seen.add(id(value))
        if tf.is_tensor(value) and not isinstance(value, tf.Variable):
            if value.dtype.is_floating:
                found.append(value)
        elif isinstance(value, functools.partial):
            look(value.func)
            look(list(value.args) + list(value.keywords.values()))
        elif isinstance(value, (list, tuple)):
            for each in value:
                look(each)
        else:
            for cell in getattr(value, "__closure__", None) or ():
                try:
                    look(cell.cell_contents)
                except ValueError:  # not assigned yet
                    pass

    look(function)
    return found
