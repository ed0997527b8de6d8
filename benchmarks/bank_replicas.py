"""On two replicas the memory bank costs a small share of a training step.

    python benchmarks/bank_replicas.py

The step of the CPU demo (28 x 28 images, small convolutional net, 128 dimensions,
full softmax over 20,000 rows, SGD), on two logical CPU devices: `MirroredStrategy`
with `ReductionToOneDevice`. Beside it, alone and in turn with it: reading the batch's
rows of the bank (`MemoryBank.read`), and updating them (`MemoryBank.write`, which
gathers the embeddings of both replicas, then writes into both copies); and an empty
step, which is what any step on two replicas costs before it does anything.

"share" is of the whole training step, after the empty step was taken off.
"""

import argparse
import os
import sys
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
WHOLE = "whole training step"
EMPTY = "empty step"


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=20000, help="rows of the bank")
    parser.add_argument("--batch-size", type=int, default=64, help="of both replicas")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="steps of a repetition")
    parser.add_argument("--repetitions", type=int, default=9)
    return parser.parse_args(argv)


def build(options):
    """Returns `{variant: function without arguments}`."""
    import tensorflow as tf
    from tensorflow import keras

    from tfembed.recipes import devices, instdisc

    devices.split_cpu(options.replicas)
    strategy = devices.build_strategy("mirrored", options.replicas)
    config = instdisc.Config(batch_size=options.batch_size, replicas=options.replicas)
    with strategy.scope():
        model = instdisc.build(config, (28, 28, 1), options.size).model
        model.compile(
            keras.optimizers.SGD(config.learning_rate, config.sgd_momentum),
            jit_compile=False,
        )
    bank = model.get_layer("endpoint").bank
    rows = options.batch_size
    batch = {
        "images": tf.random.stateless_uniform([rows, 28, 28, 1], [0, 0], 0, 255.0),
        "ids": tf.random.stateless_uniform(
            [rows], [0, 1], 0, options.size, dtype=tf.int64
        ),
    }
    data = tf.data.Dataset.from_tensors(batch).repeat().unbatch().batch(rows)
    batches = iter(strategy.experimental_distribute_dataset(data))
    fixed = next(batches)
    embeddings = strategy.run(
        lambda: tf.random.stateless_normal(
            [rows // options.replicas, config.dim], [0, 2]
        )
    )

    def read(batch, _):
        return tf.reduce_sum(bank.read(batch["ids"]))

    def write(batch, embeddings):
        bank.write(embeddings, batch["ids"])
        return tf.constant(0.0)

    def nothing(batch, _):
        return tf.reduce_sum(batch["images"][0])

    def whole(batch, _):
        outputs = model.train_step((batch,))
        return tf.reduce_sum([tf.reduce_sum(v) for v in tf.nest.flatten(outputs)])

    def runner(function):
        @tf.function
        def step():
            return strategy.run(function, args=(fixed, embeddings))

        def run():
            for _ in range(options.steps):
                results = strategy.experimental_local_results(step())
            return [result.numpy() for result in results]

        return run

    return {
        WHOLE: runner(whole),
        "rows read": runner(read),
        "rows updated": runner(write),
        EMPTY: runner(nothing),
    }


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    seconds = measure.in_turn(build(options), options.repetitions)
    per_step = 1000 / options.steps
    medians = {k: measure.median(v) * per_step for k, v in seconds.items()}
    measure.print_table(
        f"n = {options.size:,}, d = 128, batch {options.batch_size} over "
        f"{options.replicas} replicas",
        ["on all replicas", "median ms", "min ms", "share"],
        [
            [
                name,
                medians[name],
                min(seconds[name]) * per_step,
                f"{max(0, medians[name] - medians[EMPTY]) / medians[WHOLE]:.1%}",
            ]
            for name in medians
        ],
    )


if __name__ == "__main__":
    main()
