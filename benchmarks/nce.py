"""Noise-contrastive steps, beside the gather-and-bmm formulation in PyTorch.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.13.0 numpy
    python benchmarks/nce.py --torch-python /tmp/torch/bin/python

`NoiseContrastive` at ImageNet's size (1,281,167 rows of 128, batch 256, m = 4096), the
draw, loss and gradient to the embeddings, for negatives per anchor (the paper's) and
shared by the batch (the default), and each with the update of the bank's rows; beside
`nce_torch.py`, which gathers `(256, 4097, 128)` and multiplies by `bmm`, with its draw,
loss and gradient, in a process of its own.

Claim: per anchor at least 2 times, shared at least 20 times as fast.

Z is constant on both sides. Steps of the variants run in turn, PyTorch's process
waiting in between; each side has as many threads as it takes by itself. The ratios are
of the medians. Both sides compute the same on the same small arrays, which is checked
first.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
TORCH = Path(__file__).resolve().with_name("nce_torch.py")
BASE = "PyTorch, gather and bmm"
CHECKED = {"size": 500, "dim": 16, "batch_size": 8, "num_negatives": 32}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch-python",
        metavar="PATH",
        help="the interpreter of an environment with torch and numpy; without it "
        "the layer alone is timed",
    )
    parser.add_argument("--size", type=int, default=1281167, help="rows of the bank")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--num-negatives", type=int, default=4096)
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--repetitions", type=int, default=9)
    return parser.parse_args(argv)


def ours(options):
    """Returns `{variant: function without arguments}` of the layer."""
    import tensorflow as tf

    from tfembed.layers import NoiseContrastive

    embeddings = tf.math.l2_normalize(
        tf.random.stateless_normal([options.batch_size, options.dim], [1, 1]), axis=1
    )
    step = max(1, options.size // options.batch_size)
    ids = tf.range(options.batch_size, dtype=tf.int64) * step % options.size

    def runner(layer, training):
        @tf.function
        def compiled():
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                layer([embeddings, ids], training=training)
                (loss,) = layer.losses
            return loss, tape.gradient(loss, embeddings)

        return lambda: [result.numpy() for result in compiled()]

    variants = {}
    for negatives in ("per_anchor", "shared"):
        layer = NoiseContrastive(
            options.size,
            options.num_negatives,
            options.temperature,
            negatives=negatives,
            normalizer="analytic",
            seed=0,
        )
        layer.build([(None, options.dim), (None,)])
        variants[negatives] = runner(layer, False)
        variants[f"{negatives}, rows updated"] = runner(layer, True)
    return variants


class Torch:
    """The process of the other side.

    Args:
        options: The benchmark's options.
    """

    def __init__(self, options):
        command = [options.torch_python, str(TORCH), "--wait"]
        for name in ("size", "dim", "batch_size", "num_negatives", "temperature"):
            command.append(f"--{name.replace('_', '-')}={getattr(options, name)}")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{options.torch_python} could not run {TORCH.name}.")

    def step(self):
        """Has it take a step."""
        print(file=self.process.stdin, flush=True)
        json.loads(self.process.stdout.readline())

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


def largest_difference(torch_python):
    """Returns how far the two sides are apart on the same arrays: loss, gradient."""
    import numpy as np
    import tensorflow as tf

    from tfembed.layers import NoiseContrastive

    rng = np.random.default_rng(0)
    size, dim = CHECKED["size"], CHECKED["dim"]
    layer = NoiseContrastive(
        size,
        CHECKED["num_negatives"],
        negatives="per_anchor",
        normalizer="analytic",
        seed=0,
    )
    layer.build([(None, dim), (None,)])
    embeddings = rng.normal(size=(CHECKED["batch_size"], dim)).astype("float32")
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    own = rng.integers(size, size=len(embeddings))
    noise = tf.random.stateless_uniform(  # the draw that the layer promises
        [len(embeddings), CHECKED["num_negatives"]],
        [0, 0],
        maxval=size,
        dtype=tf.int64,
        alg="philox",
    )
    with tf.GradientTape() as tape:
        variable = tf.Variable(embeddings)
        layer([variable, own], training=False)
        (loss,) = layer.losses
    gradient = tape.gradient(loss, variable).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        np.savez(
            path,
            embeddings=embeddings,
            bank=layer.bank.variable.numpy(),
            own=own,
            noise=noise.numpy(),
            log_z=np.float64(math.log(layer.normalizer)),
        )
        theirs = measure.child([torch_python, str(TORCH), f"--check={path}"])
    theirs_gradient = np.array(theirs["gradient"])
    return (
        abs(float(loss) / theirs["loss"] - 1),
        abs(gradient - theirs_gradient).max() / abs(theirs_gradient).max(),
    )


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    notes = []
    variants = ours(options)
    torch = None
    if options.torch_python:
        loss, gradient = largest_difference(options.torch_python)
        notes.append(
            "Largest difference of the two sides on the same small arrays, relative: "
            f"loss {loss:.1e}, gradient {gradient:.1e}."
        )
        torch = Torch(options)
        variants = {BASE: torch.step, **variants}
    else:
        notes.append("No --torch-python: nothing to compare with.")
    seconds = measure.in_turn(variants, options.repetitions)
    if torch:
        torch.close()
    medians = {name: measure.median(values) for name, values in seconds.items()}
    measure.print_table(
        f"n = {options.size:,}, d = {options.dim}, batch {options.batch_size}, "
        f"m = {options.num_negatives}",
        ["step", "median s", "min s", "times as fast"],
        [
            [
                name,
                medians[name],
                min(seconds[name]),
                medians[BASE] / medians[name] if torch else None,
            ]
            for name in variants
        ],
        notes,
    )


if __name__ == "__main__":
    main()
