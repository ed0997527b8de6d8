"""The full non-parametric softmax costs little more than its two matmuls.

    python benchmarks/instance_softmax.py

`InstanceSoftmax` at ImageNet's size (1,281,167 rows of 128, batch 256), loss and
gradient to the embeddings, beside, in the same run,

- the bare matmuls, without softmax, loss or gradient: scores = embeddings @ bank^T and
  readout = scores @ bank. In one go the scores, `(256, n)`, stand in memory; in chunks,
  as large as the layer's, they do not. Each as written and transposed (scores as
  `(n, 256)`), on a constant, which is read without a copy: the fastest is the base.
- the plain formulation: matmul and `sparse_softmax_cross_entropy`, loss and gradient.

Claim: at most 1.2 times the bare matmuls and 0.75 of the plain formulation; with the
update of the bank's rows at most 300 MB of memory above the bank; loss and gradient
equal the plain formulation's to 1e-5.

Variants run in turn. Memory is the peak of a fresh process with that variant alone,
above what was resident with the bank loaded. The ratios are of the medians.
"""

import argparse
import functools
import json
import os
import sys
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
LAYER = "InstanceSoftmax"
UPDATED = "InstanceSoftmax, rows updated"
PLAIN = "matmul + cross-entropy"
BARE = {
    "bare, in one go": "whole",
    "bare, in one go, transposed": "whole_transposed",
    "bare, in chunks": "chunked",
    "bare, in chunks, transposed": "chunked_transposed",
}
VARIANTS = (LAYER, UPDATED, PLAIN, *BARE)


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1281167, help="rows of the bank")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--peak-of", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def build(options):
    """Returns `{variant: function without arguments}`, and the layer."""
    import tensorflow as tf

    from tfembed.layers import InstanceSoftmax
    from tfembed.ops.streamed_softmax import CHUNK

    size, dim, temperature = options.size, options.dim, options.temperature
    layer = InstanceSoftmax(size, temperature, seed=0)
    layer.build([(None, dim), (None,)])
    bank = layer.bank.variable
    embeddings, ids = batch(options)

    def step(training):
        # In training the rows are updated as well. Outside of it they are not, and
        # what is left is the loss and its gradient.
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            layer([embeddings, ids], training=training)
            (loss,) = layer.losses
        return loss, tape.gradient(loss, embeddings)

    def plain(rows):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            scores = tf.matmul(embeddings, rows, transpose_b=True) / temperature
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, scores)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, embeddings)

    def readout(rows):
        return tf.matmul(tf.matmul(embeddings, rows, transpose_b=True), rows)

    def readout_transposed(rows):
        scores = tf.matmul(rows, tf.transpose(embeddings))
        return tf.matmul(rows, scores, transpose_a=True)

    def chunked(one, shape, rows):
        chunk = min(CHUNK, size)
        whole = size // chunk * chunk

        def add(start, total):
            piece = tf.slice(rows, [start, 0], [chunk, dim])
            return start + chunk, total + one(piece)

        _, total = tf.while_loop(
            lambda start, _: start < whole,
            add,
            (tf.constant(0), tf.zeros(shape)),
            parallel_iterations=1,
        )
        return total + one(rows[whole:]) if whole < size else total

    b = options.batch_size
    bare = {
        "whole": readout,
        "whole_transposed": readout_transposed,
        "chunked": functools.partial(chunked, readout, [b, dim]),
        "chunked_transposed": functools.partial(chunked, readout_transposed, [dim, b]),
    }

    def runner(function, *arguments):
        compiled = tf.function(function)

        def run():
            results = tf.nest.flatten(compiled(*arguments))
            return [result.numpy() for result in results]

        return run

    variants = {
        LAYER: runner(lambda: step(False)),
        UPDATED: runner(lambda: step(True)),
    }
    if options.peak_of not in (LAYER, UPDATED):
        if options.peak_of:  # this process times nothing: the layer's bank may go
            rows = tf.convert_to_tensor(bank)
        else:
            rows = tf.identity(bank)
        variants[PLAIN] = runner(plain, rows)
        variants.update({name: runner(bare[key], rows) for name, key in BARE.items()})
    return variants


def batch(options):
    """Returns unit embeddings, and as many different ids, the ends among them."""
    import tensorflow as tf

    embeddings = tf.math.l2_normalize(
        tf.random.stateless_normal([options.batch_size, options.dim], [1, 1]), axis=1
    )
    step = max(1, (options.size - 1) // max(1, options.batch_size - 1))
    ids = tf.range(options.batch_size, dtype=tf.int64) * step
    return embeddings, tf.minimum(ids, options.size - 1)


def peak(options):
    """Returns the variant's peak above what stands with the bank loaded, in MB."""
    run = build(options)[options.peak_of]
    measure.reset_peak()
    before = measure.peak_mb()
    for _ in range(3):
        run()
    return measure.peak_mb() - before


def peaks(options):
    """Returns `{variant: peak in MB}`, each of a fresh process."""
    found = {}
    for variant in VARIANTS:
        command = [
            sys.executable,
            __file__,
            *(f"--size={options.size}", f"--dim={options.dim}"),
            f"--batch-size={options.batch_size}",
            f"--peak-of={variant}",
        ]
        found[variant] = measure.child(command)
    return found


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    if options.peak_of:
        print(json.dumps(peak(options)))
        return
    memory = peaks(options)
    variants = build(options)
    loss, gradient = variants[LAYER]()
    plain_loss, plain_gradient = variants[PLAIN]()
    seconds = measure.in_turn(variants, options.repetitions)
    medians = {name: measure.median(values) for name, values in seconds.items()}
    fastest = min(BARE, key=medians.get)
    measure.print_table(
        f"n = {options.size:,}, d = {options.dim}, batch {options.batch_size}",
        ["variant", "median s", "min s", "x bare", "x plain", "MB above bank"],
        [
            [
                name,
                medians[name],
                min(seconds[name]),
                medians[name] / medians[fastest],
                medians[name] / medians[PLAIN],
                f"{memory[name]:.0f}",
            ]
            for name in VARIANTS
        ],
        [
            f"x bare: beside the fastest, '{fastest}'.",
            "Largest difference to the plain formulation, relative to the largest "
            f"value: loss {abs(loss - plain_loss) / abs(plain_loss):.1e}, gradient "
            f"{abs(gradient - plain_gradient).max() / abs(plain_gradient).max():.1e}; "
            f"absolute: {abs(loss - plain_loss):.1e}, "
            f"{abs(gradient - plain_gradient).max():.1e}.",
        ],
    )


if __name__ == "__main__":
    main()
