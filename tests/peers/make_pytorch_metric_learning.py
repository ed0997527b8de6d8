"""Writes what pytorch-metric-learning computes: one small `.npz` a loss.

    python3 -m venv /tmp/torch
    /tmp/torch/bin/pip install torch==2.13.0 pytorch-metric-learning==2.9.0 numpy
    /tmp/torch/bin/python tests/peers/make_pytorch_metric_learning.py

Not run by the tests: they read the files, which stand in `pytorch_metric_learning/`
beside this script, and need neither PyTorch nor the network. A file holds

    settings              JSON: the library's version, and {case: settings}
    labels, embeddings    one batch, float64
    weights               (classes * per class, dim), for a loss that has proxies
    loss_CASE             a number
    gradient_CASE         of the embeddings
    weights_gradient_CASE of the weights

and the settings of a case are all it takes to make its loss again; see `computed`.
"""

import argparse
import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().with_name("pytorch_metric_learning")
DIM = 6
CLASSES = 5


def batch(seed, sizes=(4, 3, 3, 2, 1, 1), unit=False, order=True):
    """Returns labels and embeddings: so many rows of each class, and lone ones."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    if order:
        labels = rng.permutation(labels)
    embeddings = rng.normal(size=(len(labels), DIM)) * 1.1 / np.sqrt(DIM)
    embeddings += 0.25 * np.eye(DIM)[labels % DIM]
    if unit:
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return {"labels": labels, "embeddings": embeddings}


def with_weights(seed, per_class=1):
    """Returns a batch and as many weights, none of them of length 1."""
    arrays = batch(seed, sizes=(4, 3, 3, 1, 0)[:CLASSES])
    rng = np.random.default_rng(seed + 1)
    arrays["weights"] = rng.normal(size=(CLASSES * per_class, DIM)) * 0.7
    return arrays


def case(
    loss,
    distance=None,
    reducer=None,
    miner=None,
    triplets=None,
    regularizer=None,
    views=False,
    **arguments,
):
    """Returns a case's settings; names of classes, or `[name, arguments]`.

    With `views` the loss gets the first half of the batch, and the second one as the
    references, without labels.
    """
    return {
        "class": loss,
        "arguments": arguments,
        "distance": distance,
        "reducer": reducer,
        "miner": miner,
        "triplets": triplets,
        **({"regularizer": regularizer} if regularizer else {}),
        **({"views": views} if views else {}),
    }


def two_views(seed, images=5):
    """Returns a batch of the first views of so many images, and then the second."""
    arrays = batch(seed, sizes=(1,) * images, order=False)
    other = batch(seed + 1, sizes=(1,) * images, order=False)
    return {key: np.concatenate([arrays[key], other[key]]) for key in arrays}


def lp(power, normalize=False):
    """Returns the settings of a Euclidean distance."""
    return ["LpDistance", {"power": power, "normalize_embeddings": normalize}]


MEAN, SUM = "MeanReducer", "SumReducer"
DOT = ["DotProductSimilarity", {"normalize_embeddings": False}]
EQUAL = (4, 4, 4, 4)  # the one shape that its SmoothAPLoss ranks rightly
PROXIES = {"num_classes": CLASSES, "embedding_size": DIM}
SNR = ["SNRDistance", {"normalize_embeddings": False}]


def one_negative_each(arrays):
    """Returns triplets: each positive pair once, each with another negative."""
    labels = arrays["labels"]
    triplets = []
    for a in range(len(labels)):
        negatives = np.flatnonzero(labels != labels[a])
        positives = [p for p in np.flatnonzero(labels == labels[a]) if p != a]
        triplets += [(a, int(p), int(n)) for p, n in zip(positives, negatives)]
    return [[int(i) for i in column] for column in zip(*triplets)]


def recorded():
    """Returns `{file: (arrays, {case: settings})}`."""
    all_files = {}

    def add(name, arrays, **cases):
        all_files[name] = arrays, cases

    add(
        "contrastive",
        batch(1),
        default=case("ContrastiveLoss"),
        distance=case("ContrastiveLoss", lp(1), SUM, neg_margin=1.5),
        squared=case("ContrastiveLoss", lp(2), SUM, neg_margin=2.0),
        cosine=case(
            "ContrastiveLoss", "CosineSimilarity", SUM, pos_margin=1, neg_margin=0.3
        ),
    )
    add(
        "triplet_margin",
        batch(2),
        default=case("TripletMarginLoss"),
        distance=case("TripletMarginLoss", lp(1), MEAN, margin=0.3),
        squared=case("TripletMarginLoss", lp(2), MEAN, margin=0.3),
        cosine=case("TripletMarginLoss", "CosineSimilarity", MEAN, margin=0.3),
        smooth=case("TripletMarginLoss", lp(1), MEAN, margin=0.0, smooth_loss=True),
        hard=case("TripletMarginLoss", lp(1), MEAN, "BatchHardMiner", margin=0.3),
        hard_squared=case(
            "TripletMarginLoss", lp(2), MEAN, "BatchHardMiner", margin=0.3
        ),
        window=case(
            "TripletMarginLoss",
            lp(2),
            MEAN,
            [
                "TripletMarginMiner",
                {"margin": 0.3, "type_of_triplets": "semihard", "distance": lp(2)},
            ],
            margin=0.3,
        ),
    )
    add(
        "lifted_structure",
        batch(3),
        default=case("LiftedStructureLoss"),
        distance=case("LiftedStructureLoss", lp(1), neg_margin=1.2),
    )
    add(
        "generalized_lifted_structure",
        batch(4, sizes=(4, 3, 3, 2)),
        default=case("GeneralizedLiftedStructureLoss"),
        distance=case("GeneralizedLiftedStructureLoss", lp(1), neg_margin=1.2),
        cosine=case(
            "GeneralizedLiftedStructureLoss",
            "CosineSimilarity",
            pos_margin=0.4,
            neg_margin=0.0,
        ),
    )
    add(
        "n_pairs",
        batch(5, sizes=(2, 2, 2, 2, 2)),
        default=case("NPairsLoss"),
        dot=case("NPairsLoss", DOT),
    )
    add(
        "multi_similarity",
        batch(6),
        default=case("MultiSimilarityLoss"),
        mined=case("MultiSimilarityLoss", miner="MultiSimilarityMiner", base=1.0),
        other=case("MultiSimilarityLoss", alpha=3.0, beta=12.0, base=0.2),
    )
    add(
        "circle",
        batch(7),
        default=case("CircleLoss"),
        mean=case("CircleLoss", reducer=MEAN),
        other=case("CircleLoss", reducer=MEAN, m=0.25, gamma=10),
    )
    arrays = batch(8, unit=True)
    add(
        "margin",
        arrays,
        default=case("MarginLoss"),
        triplets=case("MarginLoss", triplets=one_negative_each(arrays)),
        distance=case(
            "MarginLoss",
            lp(1),
            triplets=one_negative_each(arrays),
            beta=1.0,
            margin=0.3,
        ),
        learned=case(
            "MarginLoss",
            triplets=one_negative_each(arrays),
            learn_beta=True,
            num_classes=6,
            nu=0.0,
        ),
    )
    add(
        "angular",
        batch(9, unit=True),
        default=case("AngularLoss"),
        other=case("AngularLoss", alpha=30),
    )
    add(
        "nca",
        batch(10),
        default=case("NCALoss"),
        distance=case("NCALoss", lp(2), softmax_scale=0.7),
    )
    add(
        "tuplet_margin",
        batch(11),
        default=case("TupletMarginLoss"),
        other=case("TupletMarginLoss", margin=10.0, scale=8),
    )
    add(
        "intra_pair_variance",
        batch(12),
        default=case("IntraPairVarianceLoss"),
        other=case("IntraPairVarianceLoss", pos_eps=0.1, neg_eps=0.2),
    )
    add(
        "ranked_list",
        batch(13),
        default=case("RankedListLoss", margin=0.4, Tn=0),
        weighted=case("RankedListLoss", margin=0.4, Tn=3, Tp=1, imbalance=0.3),
        distance=case("RankedListLoss", lp(1), margin=0.5, Tn=0, alpha=1.4),
    )
    add(
        "fast_ap",
        batch(14),
        default=case("FastAPLoss"),
        other=case("FastAPLoss", num_bins=5),
    )
    add(
        "smooth_ap",
        batch(15, sizes=EQUAL, order=False),
        default=case("SmoothAPLoss"),
        other=case("SmoothAPLoss", temperature=0.2),
    )
    add(
        "histogram",
        batch(16, sizes=(4, 3, 3, 2)),
        default=case("HistogramLoss"),
        other=case("HistogramLoss", n_bins=20),
    )
    add(
        "sup_con",
        batch(17),
        default=case("SupConLoss"),
        mean=case("SupConLoss", reducer=MEAN),
        other=case("SupConLoss", reducer=MEAN, temperature=0.5),
    )
    add(
        "nt_xent",
        batch(18),
        default=case("NTXentLoss"),
        other=case("NTXentLoss", temperature=0.5),
    )
    add(
        "nt_xent_two_views",
        batch(19, sizes=(2,) * 6),
        default=case("NTXentLoss"),
        other=case("NTXentLoss", temperature=0.5),
    )
    add(
        "soft_triple",
        with_weights(20, per_class=3),
        default=case("SoftTripleLoss", centers_per_class=3, **PROXIES),
        other=case(
            "SoftTripleLoss",
            centers_per_class=3,
            la=5.0,
            gamma=0.4,
            margin=0.1,
            **PROXIES,
        ),
    )
    add(
        "proxy_nca",
        with_weights(21),
        default=case("ProxyNCALoss", **PROXIES),
        other=case("ProxyNCALoss", softmax_scale=3.0, **PROXIES),
    )
    add(
        "proxy_anchor",
        with_weights(22),
        default=case("ProxyAnchorLoss", **PROXIES),
        other=case("ProxyAnchorLoss", margin=0.2, alpha=4, **PROXIES),
    )
    add(
        "cos_face",
        with_weights(23),
        default=case("CosFaceLoss", **PROXIES),
        other=case("CosFaceLoss", margin=0.2, scale=5, **PROXIES),
    )
    add(
        "arc_face",
        with_weights(24),
        default=case("ArcFaceLoss", **PROXIES),
        other=case("ArcFaceLoss", margin=15.0, scale=5, **PROXIES),
        wide=case("ArcFaceLoss", margin=80.0, scale=5, **PROXIES),
    )
    add(
        "sphere_face",
        with_weights(25),
        default=case("SphereFaceLoss", **PROXIES),
        other=case("SphereFaceLoss", margin=2, scale=3, **PROXIES),
    )
    add(
        "large_margin_softmax",
        with_weights(26),
        default=case("LargeMarginSoftmaxLoss", **PROXIES),
        other=case("LargeMarginSoftmaxLoss", margin=3, scale=2, **PROXIES),
    )
    add(
        "normalized_softmax",
        with_weights(27),
        default=case("NormalizedSoftmaxLoss", **PROXIES),
        other=case("NormalizedSoftmaxLoss", temperature=0.5, **PROXIES),
    )
    add(
        "sub_center_arc_face",
        with_weights(28, per_class=3),
        default=case("SubCenterArcFaceLoss", sub_centers=3, **PROXIES),
    )
    snr = "SignalToNoiseRatioContrastiveLoss"
    add(
        "signal_to_noise_ratio",
        batch(29),
        default=case(snr),
        sum=case(snr, reducer=SUM),
        plain=case(snr, SNR, SUM, pos_margin=0.3, neg_margin=2.5),
        regularised=case(
            snr,
            SNR,
            SUM,
            regularizer=["ZeroMeanRegularizer", {"reducer": MEAN}],
            embedding_reg_weight=0.2,
        ),
    )
    add(
        "pnp",
        batch(30),
        default=case("PNPLoss"),
        other=case("PNPLoss", anneal=0.1),
        increasing=case("PNPLoss", anneal=0.1, variant="Iu"),
        bounded=case("PNPLoss", anneal=0.1, variant="Ib", b=3),
        decreasing=case("PNPLoss", anneal=0.1, variant="Ds"),
        quotient=case("PNPLoss", anneal=0.1, variant="Dq", alpha=2),
    )
    add(
        "threshold_consistent_margin",
        batch(31),
        default=case("ThresholdConsistentMarginLoss"),
        other=case(
            "ThresholdConsistentMarginLoss",
            lambda_plus=0.7,
            lambda_minus=2.5,
            margin_plus=0.4,
            margin_minus=-0.2,
        ),
    )
    add(
        "vicreg",
        two_views(32),
        default=case("VICRegLoss", views=True),
        other=case(
            "VICRegLoss",
            views=True,
            invariance_lambda=2.0,
            variance_mu=3.5,
            covariance_v=4.0,
            eps=0.01,
        ),
    )
    add(
        "p2s_grad",
        with_weights(34),
        default=case("P2SGradLoss", num_classes=CLASSES, descriptors_dim=DIM),
    )
    return all_files


# The attribute that holds a loss's weights, and whether it stands the other way round.
WEIGHTS = {"proxies": False, "W": True, "fc": True, "weight": True}


def built(module, given, **more):
    """Makes an object of a module of the library from `name` or `[name, arguments]`."""
    from pytorch_metric_learning import distances, reducers

    name, arguments = (given, {}) if isinstance(given, str) else given
    arguments = dict(arguments, **more)
    if isinstance(arguments.get("distance"), (list, str)):
        arguments["distance"] = built(distances, arguments["distance"])
    if isinstance(arguments.get("reducer"), (list, str)):
        arguments["reducer"] = built(reducers, arguments["reducer"])
    return getattr(module, name)(**arguments)


def computed(arrays, settings):
    """Returns the loss and the gradients of one case."""
    import torch
    from pytorch_metric_learning import (
        distances,
        losses,
        miners,
        reducers,
        regularizers,
    )

    more = {}
    if settings.get("regularizer"):
        more["embedding_regularizer"] = built(regularizers, settings["regularizer"])
    if settings["distance"]:
        more["distance"] = built(distances, settings["distance"])
    if settings["reducer"]:
        more["reducer"] = built(reducers, settings["reducer"])
    loss = built(losses, [settings["class"], settings["arguments"]], **more)
    embeddings = torch.tensor(arrays["embeddings"], requires_grad=True)
    labels = torch.tensor(arrays["labels"])
    found = {}
    if "weights" in arrays:
        (name,) = [name for name in WEIGHTS if hasattr(loss, name)]
        values = torch.tensor(arrays["weights"])
        values = values.T.contiguous() if WEIGHTS[name] else values
        getattr(loss, name).data = values
    mined = None
    if settings["miner"]:
        plain = isinstance(settings["miner"], str)
        distance = more if plain and "distance" in more else {}
        if settings["class"] == "MultiSimilarityLoss":
            distance = {}
        mined = built(miners, settings["miner"], **_only("distance", distance))
        mined = mined(embeddings, labels)
    if settings["triplets"]:
        mined = tuple(torch.tensor(column) for column in settings["triplets"])
    if settings.get("views"):
        first, second = embeddings.tensor_split(2)
        value = loss(first, ref_emb=second)
    else:
        value = loss(embeddings, labels, mined)
    value.backward()
    found["loss"] = value.detach().numpy()
    found["gradient"] = embeddings.grad.numpy()
    if "weights" in arrays:
        gradient = getattr(loss, name).grad
        gradient = gradient.T if WEIGHTS[name] else gradient
        found["weights_gradient"] = gradient.numpy()
    if settings["arguments"].get("learn_beta"):
        found["weights_gradient"] = loss.beta.grad.numpy()
    return found


def _only(name, values):
    return {name: values[name]} if name in values else {}


def memory():
    """Returns the file of `CrossBatchMemory`: several batches, one after the other."""
    import torch
    from pytorch_metric_learning import distances, losses, reducers

    rng = np.random.default_rng(40)
    steps, rows, size = 5, 6, 16
    arrays = {
        "labels": rng.integers(0, 3, (steps, rows)),
        "embeddings": rng.normal(size=(steps, rows, DIM)) / np.sqrt(DIM),
    }
    cases = {
        "contrastive": case("ContrastiveLoss", lp(2), SUM, neg_margin=2.0),
        "multi_similarity": case("MultiSimilarityLoss", reducer=MEAN),
    }
    for name, settings in cases.items():
        more = {"reducer": built(reducers, settings["reducer"])}
        if settings["distance"]:
            more["distance"] = built(distances, settings["distance"])
        loss = built(losses, [settings["class"], settings["arguments"]], **more)
        wrapped = losses.CrossBatchMemory(loss, DIM, memory_size=size)
        values, gradients = [], []
        for labels, embeddings in zip(arrays["labels"], arrays["embeddings"]):
            embeddings = torch.tensor(embeddings, requires_grad=True)
            value = wrapped(embeddings, torch.tensor(labels))
            value.backward()
            values.append(value.item())
            gradients.append(embeddings.grad.numpy())
        arrays[f"loss_{name}"] = np.array(values)
        arrays[f"gradient_{name}"] = np.array(gradients)
        settings["memory"] = {"class": "CrossBatchMemory", "memory_size": size}
    return arrays, cases


def dynamic_soft_margin():
    """Returns the file of `DynamicSoftMarginLoss`: pairs of views, several steps.

    Rows are nearer to those of the other side than to those of their own, so that it
    makes no difference that its negatives are of the other side alone. The weights are
    constants here, and its distances copied: it changes them in place, so that PyTorch
    has no gradient of them, and does not cut the gradient of the weights.
    """
    import torch
    from pytorch_metric_learning import losses

    class Constant(losses.DynamicSoftMarginLoss):
        def update_histogram(self, data):
            super().update_histogram(data.detach())

    rng = np.random.default_rng(41)
    steps, images = 5, 4
    simplex = np.eye(images) - 1 / images
    simplex /= np.linalg.norm(simplex[0])
    first = np.concatenate([np.eye(images), np.zeros((images, images))], axis=1)
    second = np.concatenate([np.full((images, images), 0.25), 0.87 * simplex], axis=1)
    side, images_of_rows = np.arange(2 * images) < images, np.tile(np.arange(images), 2)
    batches = []
    while len(batches) < steps:
        near = first * rng.uniform(-0.8, 1.5, (images, 1))
        views = np.concatenate([first, second + near])
        views += rng.normal(size=views.shape) * 0.1
        unit = views / np.linalg.norm(views, axis=1, keepdims=True)
        same = images_of_rows[:, None] == images_of_rows
        nearest = np.argmax(np.where(same, -1, unit @ unit.T), axis=1)
        if np.all(side[nearest] != side):
            batches.append(views)
    arrays = {
        "labels": np.tile(images_of_rows, (steps, 1)),
        "embeddings": np.array(batches),
    }
    cases = {
        "default": case("DynamicSoftMarginLoss", views=True),
        "other": case("DynamicSoftMarginLoss", views=True, num_bins=25, momentum=0.2),
    }
    for name, settings in cases.items():
        loss = Constant(**settings["arguments"])
        loss.distance.register_forward_hook(lambda *call: call[-1].clone())
        values, gradients = [], []
        for embeddings in arrays["embeddings"]:
            embeddings = torch.tensor(embeddings, requires_grad=True)
            halves = embeddings.tensor_split(2)
            value = loss(halves[0], ref_emb=halves[1])
            value.backward()
            values.append(value.item())
            gradients.append(embeddings.grad.numpy())
        arrays[f"loss_{name}"] = np.array(values)
        arrays[f"gradient_{name}"] = np.array(gradients)
    return arrays, cases


def write(folder, name, arrays, cases):
    """Writes one file."""
    import pytorch_metric_learning

    settings = {"version": pytorch_metric_learning.__version__, "cases": cases}
    np.savez_compressed(
        folder / f"{name}.npz", settings=np.array(json.dumps(settings)), **arrays
    )


def main(argv=None):
    """Writes all files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args(argv).folder

    import torch

    torch.set_default_dtype(torch.float64)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (arrays, cases) in recorded().items():
        arrays = dict(arrays)
        for case_name, settings in cases.items():
            found = computed(arrays, settings)
            arrays.update({f"{key}_{case_name}": found[key] for key in found})
            print(f"{name} {case_name}: {float(found['loss']):.6g}")
        write(folder, name, arrays, cases)
    write(folder, "cross_batch_memory", *memory())
    write(folder, "dynamic_soft_margin", *dynamic_soft_margin())


if __name__ == "__main__":
    main()
