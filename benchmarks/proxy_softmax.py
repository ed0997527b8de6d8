"""A softmax over a million trained classes never holds `(batch, classes)`.

    python benchmarks/proxy_softmax.py

`ProxySoftmax`, an endpoint layer that streams its proxies, beside `Proxies` followed by
the loss of the same name, in the same run: loss, gradient to the embeddings and to the
proxies. 1,000,000 classes of 128, batch 256.

Variants run in turn. Memory is the peak of a fresh process with that variant alone,
above what was resident with the proxies loaded; the gradient to the proxies, as large
as they are, is in it in both. The ratios are of the medians.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
STREAMED = "ProxySoftmax"
PLAIN = "Proxies + loss"
VARIANTS = (STREAMED, PLAIN)
LOSSES = {"norm_softmax": "NormSoftmax", "cosface": "CosFace", "arcface": "ArcFace"}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--forms", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--peak-of", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def build(options, form):
    """Returns `{variant: function without arguments}`; each gives loss and gradients.

    With `options.peak_of` the other one is left out.
    """
    import tensorflow as tf

    from tfembed import compat, losses
    from tfembed.layers import Proxies, ProxySoftmax

    classes, dim, count = options.classes, options.dim, options.batch_size
    embeddings = tf.random.stateless_normal([count, dim], [1, 1])
    labels = tf.range(count, dtype=tf.int64) * max(1, (classes - 1) // count)
    rows = tf.math.l2_normalize(tf.random.stateless_normal([classes, dim], [2, 2]), 1)

    def build_layer(layer, *shapes):
        layer.build(*shapes)
        variable = compat.variable(layer.proxies)
        variable.assign(rows)
        return layer, variable

    def runner(loss_of, variable):
        @tf.function
        def step():
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                loss = loss_of()
            to_rows, to_proxies = tape.gradient(loss, [embeddings, variable])
            # The sum reads all of the gradient, and is little to bring to NumPy.
            return loss, to_rows, tf.reduce_sum(tf.convert_to_tensor(to_proxies), 0)

        return lambda: [result.numpy() for result in step()]

    variants = {}
    loss = getattr(losses, LOSSES[form])()
    temperature = loss.temperature if form == "norm_softmax" else 1 / loss.scale
    if options.peak_of != PLAIN:
        streamed, variable = build_layer(
            ProxySoftmax(classes, form, temperature), [(None, dim), (None,)]
        )

        def streamed_loss():
            streamed([embeddings, labels], training=True)
            return streamed.losses[0]

        variants[STREAMED] = runner(streamed_loss, variable)
    if options.peak_of != STREAMED:
        proxies, variable = build_layer(Proxies(classes), (None, dim))
        variants[PLAIN] = runner(lambda: loss(labels, proxies(embeddings)), variable)
    return variants


def peak(options):
    """Returns the variant's peak above what stands with the proxies loaded, in MB."""
    run = build(options, options.forms[0])[options.peak_of]
    measure.reset_peak()
    before = measure.peak_mb()
    for _ in range(2):
        run()
    return measure.peak_mb() - before


def main(argv=None):
    """Measures, and prints a table for each form."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    if options.peak_of:
        print(json.dumps(peak(options)))
        return
    for form in options.forms:
        sizes = {
            "classes": options.classes,
            "dim": options.dim,
            "batch-size": options.batch_size,
        }
        flags = [f"--{name}={value}" for name, value in sizes.items()]
        memory = {
            variant: measure.child(
                [sys.executable, __file__, *flags, "--forms", form]
                + [f"--peak-of={variant}"]
            )
            for variant in VARIANTS
        }
        variants = build(options, form)
        results = {name: run() for name, run in variants.items()}
        seconds = measure.in_turn(variants, options.repetitions)
        medians = {name: measure.median(values) for name, values in seconds.items()}
        apart = [
            abs(ours - plain).max() / abs(plain).max()
            for ours, plain in zip(results[STREAMED], results[PLAIN])
        ]
        measure.print_table(
            f"{form}, {options.classes:,} classes, d = {options.dim}, "
            f"batch {options.batch_size}",
            ["variant", "median s", "x plain", "MB above the proxies"],
            [
                [
                    name,
                    medians[name],
                    medians[name] / medians[PLAIN],
                    f"{memory[name]:.0f}",
                ]
                for name in VARIANTS
            ],
            [
                "Largest difference, relative to the largest value: loss "
                f"{apart[0]:.1e}, gradient to the embeddings {apart[1]:.1e}, sum of "
                f"the proxies' gradients {apart[2]:.1e}.\n"
            ],
        )


if __name__ == "__main__":
    main()
