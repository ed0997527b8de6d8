"""Every loss, forward and backward, beside other libraries' on the same processor.

    python3 -m venv /tmp/torch
    /tmp/torch/bin/pip install torch==2.13.0 pytorch-metric-learning==2.9.0 numpy
    python benchmarks/losses.py --torch-python /tmp/torch/bin/python
    python benchmarks/losses.py --memory

One step is the loss of a batch of d = 128 and its gradient, by the embeddings and by
the proxies where there are some: ours and TensorFlow Addons' in a `tf.function`,
pytorch-metric-learning's eagerly, as it is used, with its own miner where ours has its
mining inside. Both sides have the same number of threads: one each, so that on a busy
machine nobody's threads wait for each other. Each loss's variants take turns,
pytorch-metric-learning (`losses_torch.py`) in a process of its own; a turn is as many
steps as fill `--seconds`. A ratio is the median of the turns' ratios, theirs to ours: 2
means that ours takes half the time; beside it that of the processor time, which does
not count what else ran. That both sides compute the same is held by `tests/peers`.

With `--memory`: the peak of a fresh process at batch 8,192, above what was resident
before the first call, with `row_chunk=512` and without.

Claims, at batch 1,024: every loss of pairs and lists at least as fast as
pytorch-metric-learning's, most of them 2 times; in row blocks at most 200 MB.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent
TORCH = Path(__file__).resolve().with_name("losses_torch.py")


def pml(name, distance=None, reducer=None, miner=None, **arguments):
    """Returns what `losses_torch.py` makes a loss from."""
    return {
        "class": name,
        "arguments": arguments,
        "distance": distance,
        "reducer": reducer,
        "miner": miner,
    }


MEAN = "MeanReducer"
CLASSES = 1000  # of the losses on similarities to proxies
D2 = ["LpDistance", {"power": 2, "normalize_embeddings": False}]
DOT = ["DotProductSimilarity", {"normalize_embeddings": False}]
D = ["LpDistance", {"power": 1, "normalize_embeddings": False}]
WINDOW = ["TripletMarginMiner", {"type_of_triplets": "semihard", "margin": 0.2}]


class Compared:
    """One loss, and who else has it.

    Args:
        ours: Expression of a loss, in the names of `tfembed.losses`; for an endpoint
            layer in those of `tfembed.layers`.
        theirs: Of `pml`, or None.
        addons: Name of a function of `tensorflow_addons.losses`, or None.
        per_class: Rows of each class in a batch.
        proxies: Expression of the layer that puts out similarities, for a loss on
            these.
        endpoint: Whether `ours` is an endpoint layer on `[embeddings, labels]`.
        halves: Whether one row of each class is an anchor and the other its positive,
            a reference: two rows of each class.
    """

    def __init__(
        self,
        ours,
        theirs=None,
        addons=None,
        per_class=8,
        proxies=None,
        endpoint=False,
        halves=False,
    ):
        self.ours = ours
        self.theirs = theirs
        self.addons = addons
        self.per_class = per_class
        self.proxies = proxies
        self.endpoint = endpoint
        self.halves = halves


def triplet(mining):
    """Returns the expression of a triplet loss of unit rows."""
    return f'Triplet(0.2, "euclidean", "{mining}", normalize=True)'


def on_proxies(ours, theirs=None, proxies="", **arguments):
    """Returns a loss on similarities to proxies, and its peer."""
    if theirs:
        sizes = {"num_classes": CLASSES, "embedding_size": "dim"}
        theirs = pml(theirs, **sizes, **arguments)
    return Compared(ours, theirs, proxies=f"Proxies({CLASSES}{proxies})")


# Name of a row: what is compared.
COMPARED = {
    "Contrastive": Compared(
        'Contrastive(form="survey")', pml("ContrastiveLoss", D2, MEAN)
    ),
    "Triplet, all": Compared(
        triplet("all"), pml("TripletMarginLoss", reducer=MEAN, margin=0.2)
    ),
    "Triplet, window": Compared(
        triplet("window"),
        pml("TripletMarginLoss", reducer=MEAN, miner=WINDOW, margin=0.2),
    ),
    "Triplet, hard": Compared(
        triplet("hard"),
        pml("TripletMarginLoss", reducer=MEAN, miner="BatchHardMiner", margin=0.2),
        "triplet_hard_loss",
    ),
    "Triplet, semi-hard": Compared(triplet("semi_hard"), None, "triplet_semihard_loss"),
    "Triplet, distance-weighted": Compared(
        triplet("distance_weighted"),
        pml(
            "TripletMarginLoss", reducer=MEAN, miner="DistanceWeightedMiner", margin=0.2
        ),
    ),
    "HardNet": Compared("HardNet()"),
    "LiftedStructure": Compared(
        "LiftedStructure()", pml("LiftedStructureLoss", D), "lifted_struct_loss"
    ),
    "NPair": Compared(
        "NPair(l2=0.0)", pml("NPairsLoss", DOT), "npairs_loss", per_class=2, halves=True
    ),
    "MultiSimilarity": Compared(
        "MultiSimilarity()",
        pml("MultiSimilarityLoss", miner="MultiSimilarityMiner"),
    ),
    "BinomialDeviance": Compared("BinomialDeviance()"),
    "Circle": Compared("Circle()", pml("CircleLoss", reducer=MEAN)),
    "SupCon": Compared("SupCon()", pml("SupConLoss", reducer=MEAN)),
    "NTXent": Compared(
        "NTXent(temperature=0.07)", pml("NTXentLoss", temperature=0.07), per_class=2
    ),
    "InvariantSpread": Compared("InvariantSpread()", per_class=2),
    "NCA": Compared("NCA(normalize=True)", pml("NCALoss")),
    "SoftNearestNeighbor": Compared("SoftNearestNeighbor()"),
    "Angular": Compared("Angular(alpha=40.0)", pml("AngularLoss", alpha=40)),
    "TupletMargin": Compared("TupletMargin()", pml("TupletMarginLoss")),
    "IntraPairVariance": Compared("IntraPairVariance()", pml("IntraPairVarianceLoss")),
    "RankedList": Compared(
        "RankedList(negative_temperature=5.0)", pml("RankedListLoss", margin=0.4, Tn=5)
    ),
    "FastAP": Compared("FastAP()", pml("FastAPLoss")),
    "SmoothAP": Compared("SmoothAP()", pml("SmoothAPLoss")),
    "PNP": Compared("PNP(include_anchor=True)", pml("PNPLoss")),
    "Histogram": Compared("Histogram()", pml("HistogramLoss")),
    "Margin": Compared(
        "Margin(normalize=True, miner=DistanceWeightedMiner())",
        pml("MarginLoss", miner="DistanceWeightedMiner"),
        endpoint=True,
    ),
    "DynamicSoftMargin": Compared("DynamicSoftMargin()", endpoint=True),
    "CoupledClusters": Compared("CoupledClusters()"),
    "FacilityLocation": Compared("FacilityLocation()"),
    "AffinityFrobenius": Compared("AffinityFrobenius()"),
    "AffinityProjection": Compared("AffinityProjection()"),
    "RangeLoss": Compared("RangeLoss()"),
    "Marginal": Compared("Marginal()"),
    "SNR": Compared(
        "SNR(normalize=True)", pml("SignalToNoiseRatioContrastiveLoss", reducer=MEAN)
    ),
    "ThresholdConsistentMargin": Compared(
        "ThresholdConsistentMargin()", pml("ThresholdConsistentMarginLoss")
    ),
    "VICReg": Compared("VICReg()", per_class=2),
    "Matryoshka, 3 prefixes": Compared("Matryoshka(MultiSimilarity(), [32, 64, 128])"),
    "ProxyNCA": on_proxies(
        "ProxyNCA(2.0, positive_in_denominator=True)", "ProxyNCALoss"
    ),
    "ProxyAnchor": on_proxies("ProxyAnchor()", "ProxyAnchorLoss"),
    "NormSoftmax": on_proxies("NormSoftmax()", "NormalizedSoftmaxLoss"),
    "P2SGrad": on_proxies("P2SGrad()"),
    "TemperatureSoftmax": on_proxies("TemperatureSoftmax(0.05)"),
    "SoftTriple": on_proxies("SoftTriple()", "SoftTripleLoss", ", per_class=10"),
    "CosFace": on_proxies("CosFace()", "CosFaceLoss"),
    "ArcFace": on_proxies("ArcFace()", "ArcFaceLoss"),
    "ArcFace, sub-centres": on_proxies(
        "ArcFace(per_class=3)", "SubCenterArcFaceLoss", ", per_class=3", sub_centers=3
    ),
    "SphereFace": on_proxies("SphereFace()"),
    "SphereFace, with lengths": on_proxies(
        "LargeMarginSoftmax()",
        "SphereFaceLoss",
        ', similarity="product_and_length", normalize="proxies"',
    ),
    "LargeMarginSoftmax": on_proxies(
        "LargeMarginSoftmax()",
        "LargeMarginSoftmaxLoss",
        ', similarity="product_and_length"',
    ),
}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch-python",
        metavar="PATH",
        help="the interpreter of an environment with torch, pytorch-metric-learning "
        "and numpy; without it ours and TensorFlow Addons' alone are timed",
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=9, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    parser.add_argument(
        "--memory-gb",
        type=float,
        default=10.0,
        help="pytorch-metric-learning's process may take so much, and so may the cubic "
        "losses of TensorFlow Addons; what needs more is told, and not timed",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="LOSS", help="some of the losses, by their row"
    )
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--memory-batch-size", type=int, default=8192)
    parser.add_argument("--row-chunk", type=int, default=512)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    for name in options.only or []:
        if name not in COMPARED:
            parser.error(f"--only knows {', '.join(COMPARED)}. Received: {name}")
    return options


def batch(rows, per_class, dim):
    """Returns labels and embeddings: noise around a direction for each class."""
    import numpy as np

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(-(-rows // per_class)), per_class)[:rows]
    centers = rng.normal(size=(labels[-1] + 1, dim))
    embeddings = centers[labels] + rng.normal(size=(rows, dim)) * 1.5
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    order = rng.permutation(rows)
    return labels[order], embeddings[order].astype("float32")


def evaluated(expression):
    """Makes what an expression in the names of our rooms says."""
    from tfembed import layers, losses, miners

    return eval(expression, {**vars(layers), **vars(losses), **vars(miners)})


def compiled(function, *arrays):
    """Returns a function that computes a loss and its gradients, and their fetch."""
    import tensorflow as tf

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(arrays[0])
            value, weights = function(*arrays)
        return value, tape.gradient(value, [arrays[0], *weights])

    def run():
        value, gradients = step()
        for gradient in gradients:
            gradient.numpy() if hasattr(gradient, "numpy") else gradient.values.numpy()
        return float(value)

    return run


def halves(labels):
    """Returns where the first and the second row of each class are, and the classes."""
    import numpy as np

    order = np.argsort(labels, kind="stable")
    return order[::2], order[1::2], np.asarray(labels)[order[::2]]


def ours(compared, labels, embeddings, **more):
    """Returns a step of our loss, as a function without arguments."""
    import tensorflow as tf

    labels, embeddings = tf.constant(labels), tf.constant(embeddings)
    if compared.endpoint:
        layer = evaluated(compared.ours)

        def endpoint(embeddings):
            layer([embeddings, labels], training=True)
            return tf.add_n(layer.losses), layer.trainable_variables

        layer.build([embeddings.shape, labels.shape])
        return compiled(endpoint, embeddings)
    loss = evaluated(compared.ours)
    for name, value in more.items():
        setattr(loss, name, value)
    if compared.halves:
        first, second, classes = halves(labels)

        def against_positives(x):
            anchors, positives = tf.gather(x, first), tf.gather(x, second)
            rows = loss.per_row(classes, anchors, classes, positives)
            return tf.reduce_mean(rows), []

        return compiled(against_positives, embeddings)
    if compared.proxies is None:
        return compiled(lambda x: (loss(labels, x), []), embeddings)
    layer = evaluated(compared.proxies)
    layer.build(embeddings.shape)
    return compiled(
        lambda x: (loss(labels, layer(x)), layer.trainable_variables), embeddings
    )


# Of TensorFlow Addons': these have tensors of batch^3 entries, about four at once.
CUBIC = ("triplet_semihard_loss", "lifted_struct_loss")


def addons(compared, labels, embeddings):
    """Returns a step of TensorFlow Addons', or None without it."""
    try:
        import tensorflow_addons as tfa
    except ImportError:
        return None
    import tensorflow as tf

    labels, embeddings = tf.constant(labels), tf.constant(embeddings)
    loss = getattr(tfa.losses, compared.addons)

    def function(x):
        if not compared.halves:
            return loss(labels, x), []
        first, second, classes = halves(labels)
        anchors, positives = tf.gather(x, first), tf.gather(x, second)
        return loss(classes, tf.matmul(anchors, positives, transpose_b=True)), []

    return compiled(function, embeddings)


class Torch:
    """The process of the other side.

    Args:
        options: The benchmark's options.
    """

    def __init__(self, options):
        command = [
            options.torch_python,
            str(TORCH),
            f"--threads={options.threads}",
            f"--memory-gb={options.memory_gb}",
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{options.torch_python} could not run {TORCH.name}.")

    def ask(self, **message):
        """Sends a message, and returns the answer."""
        print(json.dumps(message), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


def timed(run, steps):
    """Returns the seconds of a step, and the processor's, over so many."""
    start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        run()
    ends = time.perf_counter(), time.process_time()
    return [(end - begin) / steps for begin, end in zip(start, ends)]


LONG = 10  # seconds; what takes longer for a step is timed once


def in_turns(variants, repetitions, seconds):
    """Times variants in turns that last about equally long.

    Args:
        variants: `{name: function}`; `function(steps)` is `timed` over so many steps.
        repetitions: Turns of each.
        seconds: Of a turn.

    Returns:
        `{name: [seconds of a step, of the processor], for each turn}`.
    """
    steps, found = {}, {name: [] for name in variants}
    for name, variant in variants.items():
        one = variant(1)
        if one[0] > LONG:
            found[name].append(one)
        else:
            steps[name] = max(1, math.ceil(seconds / variant(1)[0]))
    for _ in range(repetitions):
        for name, count in steps.items():
            found[name].append(variants[name](count))
    return found


def ratio(theirs, ours, clock):
    """Returns the median of the turns' ratios, by one of the two clocks."""
    return measure.median([a[clock] / b[clock] for a, b in zip(theirs, ours)])


def compare(name, rows, options, torch=None):
    """Returns a row of the table of speeds."""
    compared = COMPARED[name]
    labels, embeddings = batch(rows, compared.per_class, options.dim)
    step = ours(compared, labels, embeddings)
    step()  # traces, however long that takes
    variants = {"ours": lambda steps: timed(step, steps)}
    refused = {}
    too_much = f"> {options.memory_gb:g} GB"
    if compared.addons in CUBIC and 4 * 4 * rows**3 > options.memory_gb * 2**30:
        refused["addons"] = too_much
    elif compared.addons:
        their_step = addons(compared, labels, embeddings)
        if their_step:
            their_step()
            variants["addons"] = lambda steps: timed(their_step, steps)
    if compared.theirs and torch:
        answer = torch.ask(
            make=compared.theirs,
            rows=rows,
            per_class=compared.per_class,
            dim=options.dim,
        )
        if answer.get("refused"):
            refused["pml"] = too_much
        else:
            variants["pml"] = lambda steps: torch.ask(steps=steps)["seconds"]
    found = in_turns(variants, options.repetitions, options.seconds)

    def of(variant, clock=0):
        if variant not in found:
            return refused.get(variant)
        return ratio(found[variant], found["ours"], clock)

    milliseconds = 1000 * measure.median([turn[0] for turn in found["ours"]])
    return [
        *(name, rows, milliseconds),
        *(of("pml"), of("pml", 1), of("addons"), of("addons", 1)),
    ]


def chunked():
    """Returns the names of the losses that take `row_chunk`."""
    return [
        name
        for name, compared in COMPARED.items()
        if not compared.endpoint
        and compared.proxies is None
        and hasattr(evaluated(compared.ours), "row_chunk")
    ]


def peak(options):
    """Returns the peak of one loss above what stood before its first call, in MB."""
    name, chunk = json.loads(options.peak_of)
    compared = COMPARED[name]
    labels, embeddings = batch(
        options.memory_batch_size, compared.per_class, options.dim
    )
    more = {} if chunk is None else {"row_chunk": chunk}
    step = ours(compared, labels, embeddings, **more)
    measure.reset_peak()
    before = measure.peak_mb()
    step()
    step()
    return measure.peak_mb() - before


def peaks(options):
    """Returns rows of the table of memory, each number of a fresh process."""
    rows = []
    for name in options.only or chunked():
        found = [
            measure.child(
                [
                    sys.executable,
                    __file__,
                    f"--dim={options.dim}",
                    f"--threads={options.threads}",
                    f"--memory-batch-size={options.memory_batch_size}",
                    f"--peak-of={json.dumps([name, chunk])}",
                ]
            )
            for chunk in (options.row_chunk, None)
        ]
        rows.append([name, *[f"{mb:.0f}" for mb in found]])
    return rows


def main(argv=None):
    """Measures, and prints the table."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    if options.memory and not options.peak_of:
        measure.print_table(
            f"MB above the process, batch {options.memory_batch_size}, "
            f"d = {options.dim}",
            ["loss", f"row_chunk={options.row_chunk}", "at once"],
            peaks(options),
        )
        return
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    except RuntimeError:  # TensorFlow has started already
        pass
    if options.peak_of:
        print(json.dumps(peak(options)))
        return
    torch = Torch(options) if options.torch_python else None
    rows = []
    for name in options.only or COMPARED:
        for size in options.batch_sizes:
            rows.append(compare(name, size, options, torch))
            print(*rows[-1], file=sys.stderr, flush=True)
    notes = ["x PML: times as long in pytorch-metric-learning, by the clock."]
    if not torch:
        notes = ["No --torch-python: pytorch-metric-learning was not timed."]
    if torch:
        torch.close()
    measure.print_table(
        f"forward and backward, d = {options.dim}, {options.threads} threads",
        ["loss", "batch", "our ms", "x PML", "processor", "x Addons", "processor"],
        rows,
        notes,
    )


if __name__ == "__main__":
    main()
