"""Every loss under one protocol: retrieval of classes that nobody trained on.

    python benchmarks/glyphs.py --output glyphs.npz
    python benchmarks/loss_accuracy.py --glyphs glyphs.npz

One network (the small convolutional one, 64 dimensions), one budget (steps, batch
size, Adam), P classes x K images a batch. The classes are divided once and for all:
some to train on, some to choose by, half to test on.

    glyphs           characters in many fonts, a class a character (`glyphs.py`)
    fashion_mnist    4 classes to train on, 2 to choose by, 4 to test on

Chosen by the second part are the learning rate (of two, at the first seed) and the
moment (of three, in every run), by MAP@R. The test classes are measured once, at the
end. Losses are at the library's defaults, but that distances are taken between unit
embeddings, except where the paper says otherwise.

The table has R@1, MAP@R and NMI: means over the seeds, and 95 % intervals (Student's
t); of two data sets, how alike they rank the losses (Spearman). `--picture` draws them.
A run that is finished is not run again; `--table` prints what is finished, and trains
nothing.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Callable

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RATES = (1e-3, 3e-4)
CHECKS = 3
SHOWN = ("R@1", "MAP@R", "NMI")


@dataclasses.dataclass(frozen=True)
class Setup:
    """How a loss is trained: what stands on the embedding, and the batch.

    Attributes:
        build: `build(embedding, label, classes)` returns the model's output and the
            loss that `compile` is given.
        labelled: Whether `build` uses `label`.
        per_class: Images of a class in a batch, at least; 2 is exact.
    """

    build: Callable
    labelled: bool = False
    per_class: int = 8


def setups():
    """Returns `{name: Setup}` of every loss that learns from classes."""
    from tensorflow import keras

    from tfembed import layers, losses, miners

    def pair(name, per_class=8, **settings):
        return Setup(
            lambda embedding, label, classes: (
                embedding,
                getattr(losses, name)(**settings),
            ),
            per_class=per_class,
        )

    def proxy(name, settings=None, **proxies):
        return Setup(
            lambda embedding, label, classes: (
                layers.Proxies(classes, **proxies)(embedding),
                getattr(losses, name)(**settings or {}),
            )
        )

    def margin(embedding, label, classes):
        return layers.Margin(classes, normalize=True)([embedding, label]), None

    def dynamic(embedding, label, classes):
        return layers.DynamicSoftMargin()([embedding, label]), None

    def center(embedding, label, classes):
        logits = keras.layers.Dense(classes)(
            layers.Centers(classes)([embedding, label])
        )
        return logits, keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def matryoshka(embedding, label, classes):
        dim = embedding.shape[-1]
        dims = [dim // 4, dim // 2, dim]
        return embedding, losses.Matryoshka(losses.MultiSimilarity(), dims)

    unit = {"normalize": True}
    return {
        "Contrastive": pair("Contrastive", **unit),
        "Contrastive, cosine": pair("Contrastive", form="cosine", margin=0.5),
        "Triplet, semi-hard": pair("Triplet", mining="semi_hard", margin=0.2, **unit),
        "Triplet, batch hard": pair("Triplet", mining="hard", margin=0.2, **unit),
        "Triplet, all": pair("Triplet", mining="all", margin=0.2, **unit),
        "Triplet, distance-weighted": pair(
            "Triplet", mining="distance_weighted", margin=0.2, **unit
        ),
        "LiftedStructure": pair("LiftedStructure"),
        "NPair": pair("NPair", per_class=2),
        "CoupledClusters": pair("CoupledClusters", **unit),
        "FacilityLocation": pair("FacilityLocation", gamma=1.0, **unit),
        "AffinityFrobenius": pair("AffinityFrobenius"),
        "AffinityProjection": pair("AffinityProjection"),
        "BinomialDeviance": pair("BinomialDeviance"),
        "MultiSimilarity": pair("MultiSimilarity"),
        "MultiSimilarity, weights alone": pair("MultiSimilarity", epsilon=None),
        "MultiSimilarity, mining alone": pair(
            "Contrastive",
            form="cosine",
            margin=0.5,
            miner=miners.MultiSimilarityMiner(),
        ),
        "Matryoshka, MultiSimilarity": Setup(matryoshka),
        "RangeLoss": pair("RangeLoss", **unit),
        "Marginal": pair("Marginal"),
        "SupCon": pair("SupCon"),
        "NTXent": pair("NTXent", per_class=2),
        "InvariantSpread": pair("InvariantSpread", per_class=2),
        "Circle": pair("Circle"),
        "RankedList": pair("RankedList"),
        "HardNet": pair("HardNet", **unit),
        "Histogram": pair("Histogram"),
        "Angular": pair("Angular"),
        "NCA": pair("NCA", **unit),
        "SoftNearestNeighbor": pair("SoftNearestNeighbor", **unit),
        "TupletMargin": pair("TupletMargin"),
        "IntraPairVariance": pair("IntraPairVariance"),
        "FastAP": pair("FastAP"),
        "SmoothAP": pair("SmoothAP"),
        "PNP": pair("PNP", form="Dq"),
        "SNR": pair("SNR"),
        "ThresholdConsistentMargin": pair("ThresholdConsistentMargin"),
        "VICReg": pair("VICReg", per_class=2),
        "ProxyNCA": proxy("ProxyNCA"),
        "ProxyAnchor": proxy("ProxyAnchor"),
        "NormSoftmax": proxy("NormSoftmax"),
        "P2SGrad": proxy("P2SGrad"),
        "SoftTriple": proxy("SoftTriple", {"per_class": 4}, per_class=4),
        "CosFace": proxy("CosFace"),
        "ArcFace": proxy("ArcFace"),
        "SphereFace": proxy("SphereFace"),
        "LargeMarginSoftmax": proxy(
            "LargeMarginSoftmax", similarity="product_and_length"
        ),
        "Margin, learned beta": Setup(margin, labelled=True),
        "DynamicSoftMargin": Setup(dynamic, labelled=True),
        "Centers + softmax": Setup(center, labelled=True),
    }


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--glyphs", type=Path, help="the file that glyphs.py writes")
    parser.add_argument("--datasets", nargs="+", default=["glyphs", "fashion_mnist"])
    parser.add_argument("--data-dir", help="of Fashion-MNIST")
    parser.add_argument("--losses", nargs="+", help="some of them, by name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=4000, help="to measure on")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "loss_accuracy")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args(argv)
    if not options.table and "glyphs" in options.datasets and options.glyphs is None:
        parser.error(
            "--glyphs FILE is needed; `python benchmarks/glyphs.py` writes it."
        )
    return options


def load(name, options):
    """Returns `{part: (images, labels)}` of the three parts of the classes."""
    if name == "glyphs":
        with np.load(options.glyphs) as data:
            images, labels = data["images"], data["labels"]
        parts = {"train": 0.4, "choose": 0.1, "test": 0.5}
    else:
        from tfembed.data import load_images

        data = load_images(name, data_dir=options.data_dir)
        images = data.train.read(np.arange(data.train.size))
        labels = data.train.labels
        parts = {"train": 0.4, "choose": 0.2, "test": 0.4}
    rng = np.random.default_rng(0)  # one division for all seeds
    classes = rng.permutation(np.unique(labels))
    ends = np.round(np.cumsum(list(parts.values())) * len(classes)).astype(int)
    divided = {}
    for part, own in zip(parts, np.split(classes, ends[:-1])):
        rows = np.flatnonzero(np.isin(labels, own))
        if part != "train":
            rows = rng.permutation(rows)[: options.images]
        divided[part] = images[rows], np.searchsorted(np.sort(own), labels[rows])
    return divided


def train(setup, divided, rate, seed, options):
    """Trains once; returns what the test classes say, and what chose the moment."""
    import tensorflow as tf
    from tensorflow import keras

    from tfembed.backbones import build_backbone
    from tfembed.data import class_balanced

    images, labels = divided["train"]
    classes = len(np.unique(labels))
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    image = keras.Input(images.shape[1:])
    features = build_backbone("small_conv", images.shape[1:], seed=seed)(image)
    embedding = keras.layers.Dense(64, name="embedding")(features)
    encoder = keras.Model(image, embedding)
    label = keras.Input((), dtype="int64")
    output, loss = setup.build(embedding, label, classes)
    model = keras.Model([image, label] if setup.labelled else image, output)
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    per_class = setup.per_class
    at_once = min(classes, options.batch_size // per_class)
    per_class = options.batch_size // at_once if per_class > 2 else per_class

    def read(ids):
        return {"images": tf.cast(tf.gather(images, ids), tf.float32)}

    batches = class_balanced(
        labels,
        at_once,
        per_class,
        seed=seed,
        read=read,
        steps_per_epoch=options.steps,
        last_epoch=2,  # one is enough, but Keras looks ahead
    )

    def example(batch):
        x, y = batch["images"], batch["labels"]
        return ((x, y), y) if setup.labelled else (x, y)

    best = -1.0, None
    chosen_by = []

    def check(epoch, logs):
        nonlocal best
        score = measure(encoder, divided["choose"], seed, cluster=False)["MAP@R"]
        chosen_by.append(score)
        if score > best[0]:
            best = score, encoder.get_weights()

    start = time.perf_counter()
    model.fit(
        batches.map(example).prefetch(2),
        steps_per_epoch=options.steps // CHECKS,
        epochs=CHECKS,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=check)],
    )
    seconds = time.perf_counter() - start
    encoder.set_weights(best[1])
    return {
        "rate": rate,
        "seed": seed,
        "chosen by": chosen_by,
        "seconds": seconds,
        **measure(encoder, divided["test"], seed),
    }


def measure(encoder, part, seed, cluster=True):
    """Returns R@1, MAP@R and, with `cluster`, NMI of an encoder on classes."""
    from tfembed.metrics import clustering, retrieval

    images, labels = part
    if encoder is None:
        embeddings = np.float32(images).reshape(len(images), -1)
    else:
        embeddings = encoder.predict(np.float32(images), batch_size=500, verbose=0)
    found = retrieval(embeddings, labels, ks=(1,)).means()
    result = {name: found[name] for name in ("R@1", "MAP@R")}
    if cluster:
        result["NMI"] = clustering(embeddings, labels, restarts=2, seed=seed)["NMI"]
    return result


def baselines(divided, seeds):
    """Returns the runs of what has learnt nothing."""
    from tfembed.backbones import build_backbone

    shape = divided["test"][0].shape[1:]
    untrained = [
        measure(build_backbone("small_conv", shape, seed=seed), divided["test"], seed)
        for seed in seeds
    ]
    pixels = [measure(None, divided["test"], seed) for seed in seeds[:1]]
    return {"(raw pixels)": pixels, "(untrained network)": untrained}


def run(name, setup, divided, folder, options):
    """Returns a loss's runs, one a seed, at the learning rate chosen by the first."""
    runs = {}
    first, *others = options.seeds
    for rate in RATES:
        runs[rate] = [kept(folder, name, setup, divided, rate, first, options)]
    rate = max(RATES, key=lambda rate: max(runs[rate][0]["chosen by"]))
    for seed in others:
        runs[rate].append(kept(folder, name, setup, divided, rate, seed, options))
    return runs[rate]


def kept(folder, name, setup, divided, rate, seed, options):
    """Trains, or reads what was trained before."""
    words = "".join(c if c.isalnum() else "-" for c in name)
    file = folder / f"{words}-{rate:g}-{options.steps}-{seed}.json"
    if not file.exists():
        if options.table:
            raise LookupError(f"{name}, seed {seed}: not run yet")
        result = train(setup, divided, rate, seed, options)
        folder.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".tmp").write_text(json.dumps(result))
        os.replace(file.with_suffix(".tmp"), file)
        print(
            f"{folder.name}: {name}, rate {rate:g}, seed {seed}: "
            f"R@1 {result['R@1']:.3f}, {result['seconds']:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return json.loads(file.read_text())


def interval(values):
    """Returns the mean and half the width of its 95 % interval (Student's t)."""
    from scipy import stats

    values = np.array(values)
    if len(values) < 2:
        return values.mean(), 0.0
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean(), float(half)


def table(results):
    """Returns the lines of a Markdown table, best MAP@R first."""
    head = ["loss", *SHOWN, "rate"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    order = sorted(
        results, key=lambda name: -np.mean([r["MAP@R"] for r in results[name]])
    )
    for name in order:
        cells = []
        for metric in SHOWN:
            mean, half = interval([r[metric] for r in results[name]])
            cells.append(f"{mean:.3f} ± {half:.3f}" if half else f"{mean:.3f}")
        rate = results[name][0].get("rate")
        lines.append(f"| {name} | {' | '.join(cells)} | {rate or ''} |")
    return lines


def agreement(first, second):
    """Says how alike two data sets rank the losses that both have."""
    from scipy import stats

    names = [name for name in first if name in second and not name.startswith("(")]
    if len(names) < 3:
        return "fewer than three losses on both: no rank correlation"
    scores = [
        [np.mean([r["MAP@R"] for r in results[name]]) for name in names]
        for results in (first, second)
    ]
    found = stats.spearmanr(*scores)
    return (
        f"rank correlation of the {len(names)} losses' MAP@R: "
        f"{found.statistic:.2f}, p = {found.pvalue:.2f}"
    )


def draw(all_results, path):
    """Draws each loss's MAP@R with its interval, a panel a data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = max(len(results) for results in all_results.values())
    figure, axes = plt.subplots(
        1, len(all_results), figsize=(5.5 * len(all_results), 0.24 * rows + 1.2)
    )
    for axis, (dataset, results) in zip(np.atleast_1d(axes), all_results.items()):
        order = sorted(
            results, key=lambda name: np.mean([r["MAP@R"] for r in results[name]])
        )
        for height, name in enumerate(order):
            for metric, color in (("MAP@R", "#1f5fa8"), ("R@1", "#c2571a")):
                mean, half = interval([r[metric] for r in results[name]])
                axis.errorbar(mean, height, xerr=half, fmt="o", ms=4, color=color)
        axis.set_yticks(range(len(order)), order, fontsize=8)
        axis.set_title(dataset)
        axis.set_xlabel("MAP@R (blue), R@1 (orange), unseen classes")
        axis.margins(y=0.01)
        axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(argv=None):
    """Trains what is not trained yet, prints a table a data set."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(ROOT))
    known = setups()
    names = options.losses or list(known)
    if set(names) - set(known):
        sys.exit(f"--losses must be among: {', '.join(known)}. Received: {names}.")
    all_results = {}
    for dataset in options.datasets:
        folder = options.runs / dataset
        divided = None if options.table else load(dataset, options)
        results = {}
        file = folder / "baselines.json"
        if divided:
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                file.write_text(json.dumps(baselines(divided, options.seeds)))
            print(
                f"{dataset}: "
                + ", ".join(
                    f"{len(np.unique(y))} classes ({len(y)} images) to {part}"
                    + (" on" if part != "choose" else " by")
                    for part, (_, y) in divided.items()
                )
            )
        if file.exists():
            results.update(json.loads(file.read_text()))
        for name in names:
            try:
                results[name] = run(name, known[name], divided, folder, options)
            except LookupError as missing:
                print(missing, file=sys.stderr)
        all_results[dataset] = results
        print(f"\n{dataset}, {len(options.seeds)} seeds, {options.steps} steps:\n")
        print("\n".join(table(results)), flush=True)
    if len(all_results) == 2:
        print(f"\n{agreement(*all_results.values())}")
    if options.picture:
        draw(all_results, options.picture)


if __name__ == "__main__":
    main()
