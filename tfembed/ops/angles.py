"""Functions of an angle that is given by its cosine, without an arc cosine.

The gradient of the arc cosine is infinite where two vectors are parallel. Here values
and gradients are finite at every cosine; one beyond 1 or -1 by rounding counts as 1 or
-1.
"""

import math

import tensorflow as tf

from tfembed.ops.distances import safe_sqrt

BEYOND_PI = ("shifted", "formula")


def cosine_of_wider_angle(cosine, margin, beyond_pi="shifted"):
    """Computes `cos(theta + margin)` from `cos(theta)`.

    Args:
        cosine: Tensor, float32 or float64.
        margin: Angle in radians, a number from 0 to pi / 2.
        beyond_pi: What it is where `theta + margin` is larger than pi: `"formula"`,
            the same; `"shifted"`, `cos(theta) - margin * sin(margin)`, which keeps
            falling with theta.

    Returns:
        A tensor like `cosine`. Where theta is 0 or pi the sine counts as constant in
        the gradient.
    """
    cosine = tf.clip_by_value(cosine, -1.0, 1.0)
    sine = safe_sqrt((1.0 - cosine) * (1.0 + cosine))
    wider = cosine * math.cos(margin) - sine * math.sin(margin)
    if beyond_pi == "formula":
        return wider
    shifted = cosine - margin * math.sin(margin)
    return tf.where(cosine >= -math.cos(margin), wider, shifted)


def cosine_of_multiple_angle(cosine, multiple):
    """Computes psi(theta), `cos(multiple * theta)` made to fall all the way to pi.

        psi(theta) = (-1)^k cos(multiple * theta) - 2k,
        k the whole number with k pi <= multiple * theta <= (k + 1) pi

    The cosine of the multiple angle is a polynomial of the cosine, by the recurrence
    `cos((n + 1) t) = 2 cos(t) cos(n t) - cos((n - 1) t)`.

    Args:
        cosine: Tensor, float32 or float64.
        multiple: Positive integer.

    Returns:
        A tensor like `cosine`, from 1 at theta = 0 to `1 - 2 * multiple` at pi.

    Reference: Liu et al., 2016, equation 6 (https://arxiv.org/abs/1612.02295).
    """
    cosine = tf.clip_by_value(cosine, -1.0, 1.0)
    before, value = tf.ones_like(cosine), cosine
    for _ in range(multiple - 1):
        before, value = value, 2 * cosine * value - before
    turns = tf.zeros_like(cosine)
    sign = tf.ones_like(cosine)
    for k in range(1, multiple):
        beyond = cosine < math.cos(k * math.pi / multiple)
        turns += tf.cast(beyond, cosine.dtype)
        sign = tf.where(beyond, -sign, sign)
    return sign * value - 2 * turns
