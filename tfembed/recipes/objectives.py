"""Supervised losses by name: what stands on the embedding, and what `compile` gets."""

import ast
import inspect
from pathlib import Path
from typing import Any, NamedTuple

from tfembed.command_line import suggestion
from tfembed.registry import Registry

PAIR, PROXY, ENDPOINT = "pair", "proxy", "endpoint"

# Name on the command line: kind, class in `tfembed.losses` or `tfembed.layers`; of
# other packages and of a user, the class.
LOSSES = Registry(
    "loss",
    "tfembed.losses",
    {
        "affinity_frobenius": (PAIR, "AffinityFrobenius"),
        "affinity_projection": (PAIR, "AffinityProjection"),
        "angular": (PAIR, "Angular"),
        "arcface": (PROXY, "ArcFace"),
        "binomial_deviance": (PAIR, "BinomialDeviance"),
        "center": (ENDPOINT, "Centers"),
        "circle": (PAIR, "Circle"),
        "contrastive": (PAIR, "Contrastive"),
        "cosface": (PROXY, "CosFace"),
        "coupled_clusters": (PAIR, "CoupledClusters"),
        "dynamic_soft_margin": (ENDPOINT, "DynamicSoftMargin"),
        "facility_location": (PAIR, "FacilityLocation"),
        "fast_ap": (PAIR, "FastAP"),
        "hardnet": (PAIR, "HardNet"),
        "histogram": (PAIR, "Histogram"),
        "intra_pair_variance": (PAIR, "IntraPairVariance"),
        "invariant_spread": (PAIR, "InvariantSpread"),
        "large_margin_softmax": (PROXY, "LargeMarginSoftmax"),
        "lifted_structure": (PAIR, "LiftedStructure"),
        "margin": (ENDPOINT, "Margin"),
        "marginal": (PAIR, "Marginal"),
        "multi_similarity": (PAIR, "MultiSimilarity"),
        "nca": (PAIR, "NCA"),
        "norm_softmax": (PROXY, "NormSoftmax"),
        "npair": (PAIR, "NPair"),
        "nt_xent": (PAIR, "NTXent"),
        "p2s_grad": (PROXY, "P2SGrad"),
        "pnp": (PAIR, "PNP"),
        "proxy_anchor": (PROXY, "ProxyAnchor"),
        "proxy_nca": (PROXY, "ProxyNCA"),
        "proxy_softmax": (ENDPOINT, "ProxySoftmax"),
        "range_loss": (PAIR, "RangeLoss"),
        "ranked_list": (PAIR, "RankedList"),
        "smooth_ap": (PAIR, "SmoothAP"),
        "snr": (PAIR, "SNR"),
        "soft_nearest_neighbor": (PAIR, "SoftNearestNeighbor"),
        "soft_triple": (PROXY, "SoftTriple"),
        "sphereface": (PROXY, "SphereFace"),
        "sup_con": (PAIR, "SupCon"),
        "temperature_softmax": (PROXY, "TemperatureSoftmax"),
        "threshold_consistent_margin": (PAIR, "ThresholdConsistentMargin"),
        "triplet": (PAIR, "Triplet"),
        "tuplet_margin": (PAIR, "TupletMargin"),
        "vicreg": (PAIR, "VICReg"),
    },
)
TWO_ROWS = ("invariant_spread", "npair", "nt_xent", "vicreg")  # of each class, exactly
SIMILARITY = {
    "large_margin_softmax": "product_and_length",
    "temperature_softmax": "product",
}
MINERS = Registry(
    "miner",
    "tfembed.miners",
    {
        "none": None,
        "all_valid": "AllValidMiner",
        "distance_weighted": "DistanceWeightedMiner",
        "hard": "HardMiner",
        "multi_similarity": "MultiSimilarityMiner",
        "semi_hard": "SemiHardMiner",
        "top_k": "TopKMiner",
    },
)


class Objective(NamedTuple):
    """What trains an embedding.

    Attributes:
        outputs: Symbolic output of the model.
        loss: What `compile` is given, or `None`.
        labelled: Whether the model takes labels as an input.
        scheduled: The loss or layer whose temperature a schedule sets.
    """

    outputs: Any
    loss: Any
    labelled: bool
    scheduled: Any


def build_objective(config, embeddings, labels, num_classes):
    """Builds the loss of a config on symbolic embeddings.

    Args:
        config: The config of `tfembed.recipes.supervised`.
        embeddings: Symbolic, `(batch, dim)`.
        labels: Symbolic class numbers, int64 `(batch,)`.
        num_classes: Number of training classes.

    Returns:
        An `Objective`.

    Raises:
        ValueError: If the config's options do not fit its loss.
    """
    kind, loss_class = find_loss(config.loss)
    options = read_options(config.loss_options)
    if config.matryoshka and kind != PAIR:
        raise ValueError(
            "--matryoshka goes with losses that compare embeddings. "
            f"Received: --loss {config.loss}, which has weights for all numbers."
        )
    if kind == ENDPOINT:
        return _endpoint(config, loss_class, options, embeddings, labels, num_classes)
    from tfembed import layers

    if kind == PROXY:
        if config.miner != "none" or config.cross_batch:
            raise ValueError(
                "--miner and --cross-batch go with losses that compare embeddings. "
                f"Received: --loss {config.loss}, which compares them with proxies."
            )
        if "per_class" in inspect.signature(loss_class).parameters:
            options.setdefault("per_class", config.per_class)
        elif config.per_class != 1:
            raise ValueError(
                f"--per-class must be 1 with --loss {config.loss}, which has one "
                f"proxy a class. Received: per_class={config.per_class}."
            )
        loss = _make(loss_class, options, config.loss)
        similarities = layers.Proxies(
            num_classes,
            per_class=config.per_class,
            similarity=SIMILARITY.get(config.loss, "cosine"),
            merge=config.proxy_merge,
            name="proxies",
        )(embeddings)
        return Objective(similarities, loss, False, loss)
    loss = _make(loss_class, _with_miner(config, loss_class, options), config.loss)
    scheduled = loss
    if config.matryoshka:
        from tfembed.losses import Matryoshka

        loss = Matryoshka(loss, read_dims(config.matryoshka))
    if not config.cross_batch:
        return Objective(embeddings, loss, False, scheduled)
    layer = layers.CrossBatch(
        loss, config.cross_batch, config.cross_batch_warmup, name="cross_batch"
    )
    return Objective(layer([embeddings, labels]), loss, True, scheduled)


def find_loss(name):
    """Returns what kind of loss a name stands for, and its class.

    Args:
        name: Of `LOSSES`, which may be a user's own, `module:Class`.

    Raises:
        ValueError: If it stands for something that cannot be trained with.
    """
    from tensorflow import keras

    from tfembed import layers, losses

    found = LOSSES[name]
    if isinstance(found, tuple):
        kind, class_name = found
        return kind, getattr(layers if kind == ENDPOINT else losses, class_name)
    if isinstance(found, type) and issubclass(found, keras.layers.Layer):
        return ENDPOINT, found
    if isinstance(found, type) and issubclass(found, keras.losses.Loss):
        function = getattr(found, "function", found.call)
        proxies = "similarities" in inspect.signature(function).parameters
        return PROXY if proxies else PAIR, found
    raise ValueError(
        "--loss must name a class: of Keras losses, of labels and embeddings, or of "
        "labels and `similarities` (so called) to proxies; or of Keras layers, which "
        f"take [embeddings, labels] and add their loss. Received: {name!r}, a "
        f"{type(found).__name__}."
    )


def _endpoint(config, layer_class, options, embeddings, labels, num_classes):
    from tensorflow import keras

    if config.cross_batch:
        raise ValueError(
            "--cross-batch goes with losses that compare embeddings. "
            f"Received: --loss {config.loss}."
        )
    options = _with_miner(config, layer_class, options)
    if "num_classes" in inspect.signature(layer_class).parameters:
        options = {"num_classes": num_classes, **options}
    layer = _make(layer_class, options, config.loss)
    outputs, loss = layer([embeddings, labels]), None
    if config.loss == "center":  # beside its softmax classifier, as in the paper
        outputs = keras.layers.Dense(num_classes, name="classifier")(outputs)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Objective(outputs, loss, True, layer)


def _with_miner(config, target, options):
    if config.miner == "none":
        return options
    if "miner" not in inspect.signature(target).parameters:
        raise ValueError(
            f"--loss {config.loss} takes no miner. Received: --miner {config.miner}."
        )
    from tfembed import miners

    found = MINERS[config.miner]
    miner = getattr(miners, found) if isinstance(found, str) else found
    return {**options, "miner": miner() if isinstance(miner, type) else miner}


def _make(target, options, name):
    """Calls a class with options, refusing unknown ones by name."""
    known = list(inspect.signature(target).parameters)
    _refuse_unknown(name, options, known)
    return target(**options)


def check_options(name, options):
    """Refuses options that a loss has not, by its source: TensorFlow need not start.

    Args:
        name: Of `LOSSES`; one of a user's own is looked at when it is made.
        options: A dictionary, as of `read_options`.

    Raises:
        ValueError: If there is an unknown one.
    """
    if not options or name not in LOSSES.parts:
        return
    kind, class_name = LOSSES[name]
    rooms = Path(__file__).parents[1]
    if kind == ENDPOINT:
        files = sorted((rooms / "layers").glob("*.py"))
    else:  # whose constructors are written in the stub alone
        files = [rooms / "losses" / "__init__.pyi"]
    begin = f"class {class_name}("
    text = next(
        text for path in files if begin in (text := path.read_text(encoding="utf-8"))
    )
    node = next(
        each
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.ClassDef) and each.name == class_name
    )
    arguments = next(
        each.args
        for each in node.body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    )
    _refuse_unknown(name, options, [each.arg for each in arguments.args[1:]])


def _refuse_unknown(name, options, known):
    known = [each for each in known if each not in ("kwargs", "name", "reduction")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        allowed = f"must be among {', '.join(known)}" if known else "must be empty"
        received = (
            f"--loss-options of {name} {allowed}. Received: {', '.join(unknown)}."
        )
        guesses = filter(None, (suggestion(each, known) for each in unknown))
        raise ValueError(" ".join([received, *guesses]))


def read_options(text):
    """Reads `"margin=0.5,form=cosine"` as a dictionary.

    Raises:
        ValueError: If a part is not `key=value`.
    """
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ValueError(
                "--loss-options must look like margin=0.5,form=cosine. "
                f"Received: {text!r}."
            )
        try:
            options[key.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            options[key.strip()] = value.strip()
    return options


def read_dims(text):
    """Reads `"8,16,64"` as a list of numbers; an empty one if it is empty.

    Raises:
        ValueError: If they are not positive and ascending.
    """
    try:
        dims = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        dims = [0]
    if any(dim < 1 for dim in dims) or dims != sorted(set(dims)):
        raise ValueError(
            "--matryoshka must look like 8,16,64, how many numbers each prefix has, "
            f"from few to many. Received: {text!r}."
        )
    return dims


def read_schedule(text):
    """Reads `"0:0.0625,60:0.25"` as `{first epoch: value}`; `None` if empty.

    Raises:
        ValueError: If a part is not `epoch:value`.
    """
    if not text:
        return None
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(epoch): float(value) for epoch, value in pairs}
    except ValueError as error:
        raise ValueError(
            "--temperature-schedule must look like 0:0.0625,60:0.25, the first epoch "
            f"of each value. Received: {text!r}."
        ) from error
