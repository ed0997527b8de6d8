"""Bases of the space that a matrix's columns span."""

import tensorflow as tf


def range_basis(matrix, tolerance):
    """Computes an orthonormal basis of a matrix's columns, for projections.

    The basis is that of the thin singular value decomposition, by the eigenvectors of
    `matrix^T matrix`. Its gradient is right for whatever depends on the projection
    `basis basis^T` alone: how the basis turns within the space has none. What is left
    divides by singular values, never by differences of them.

    Args:
        matrix: `(rows, dim)`, float64.
        tolerance: Singular values up to this part of the largest one count as 0;
            below about 1e-7 they drown in rounding.

    Returns:
        `(rows, dim)`, an orthonormal column for each singular value that counts, zeros
        for the others; and their number, the rank, a float64 scalar.
    """
    fixed = tf.stop_gradient(matrix)
    squares, turns = tf.linalg.eigh(tf.matmul(fixed, fixed, transpose_a=True))
    values = tf.sqrt(tf.maximum(squares, 0))
    counts = values > tolerance * tf.reduce_max(values)
    inverse = tf.where(counts, 1 / tf.where(counts, values, 1), 0)
    scaled = turns * inverse[None, :]

    @tf.custom_gradient
    def of_matrix(matrix):
        basis = tf.matmul(matrix, scaled)

        def gradient(upstream):
            own = tf.matmul(basis, upstream, transpose_a=True)
            outward = upstream - tf.matmul(basis, own)
            return tf.matmul(outward, scaled, transpose_b=True)

        return basis, gradient

    rank = tf.reduce_sum(tf.cast(counts, matrix.dtype))
    return of_matrix(matrix), rank
