"""An encoder by what a person calls it: a run, a saved model, or a backbone's name."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfembed.backbones.encoder_path import encoder_path
from tfembed.backbones.names import BACKBONES, POOLS, is_foreign
from tfembed.backbones.weights import FAMILIES, find_weights
from tfembed.backbones.weights_file import Weights
from tfembed.command_line import suggestion
from tfembed.hints import PathLike
from tfembed.ops.arguments import check_choice

if TYPE_CHECKING:
    import tensorflow as tf

    from tfembed.backbones.encoder import Encoder

__all__ = ["IMAGE_SIZE", "RESIZE", "check_encoder", "is_backbone", "open_encoder"]

IMAGE_SIZE = 224  # what most networks are pretrained at
RESIZE = "crop"  # and how; benchmarks/pretrained.py measures it
_SEED = 0  # of weights that are not given


def is_backbone(name: PathLike, weights: str | Weights | None = None) -> bool:
    """Tells whether a backbone is meant, and not a run or a file of that name.

    >>> from tfembed.backbones import is_backbone
    >>> is_backbone("applications:MobileNetV2"), is_backbone("runs/mine")
    (True, False)

    Args:
        name: What the person wrote.
        weights: The weights beside it, or `None`; a run or a file takes none.
    """
    known = name in BACKBONES or is_foreign(str(name))
    return known and (weights is not None or not os.path.exists(name))


def check_encoder(
    name: PathLike, weights: str | Weights | None = None, pool: str | None = None
) -> None:
    """Checks what can be told of an encoder at once: without TensorFlow or a network.

    >>> from tfembed.backbones import check_encoder
    >>> check_encoder("small_conv", weights="none")
    >>> check_encoder("runs/there_is_none")
    Traceback (most recent call last):
        ...
    ValueError: The encoder must be a run directory, a saved Keras model (.keras), ...

    Args:
        name: As for `open_encoder`.
        weights: As for `open_encoder`.
        pool: As for `open_encoder`.

    Raises:
        ValueError: If there is no such encoder, or it takes no such weights.
    """
    name = os.fspath(name)
    path = os.path.expanduser(name)
    if not is_backbone(name, weights):
        if not os.path.exists(path):
            guess = suggestion(name, list(BACKBONES))
            raise ValueError(
                "The encoder must be a run directory, a saved Keras model (.keras), or "
                f"a backbone's name: {', '.join(_alike(name))}. "
                f"Received: {name!r}, which does not exist." + (guess and f" {guess}")
            )
        if weights is not None or pool is not None:
            raise ValueError(
                "`weights` and `pool` go with a backbone's name. Received: "
                f"weights={weights!r}, pool={pool!r}, with {name!r}, which brings its "
                "own. Leave them out."
            )
        encoder_path(path)
        return
    family = name.partition(":")[0]
    given, imagenet = family in FAMILIES, family in ("applications", "keras_cv")
    if weights is None and not is_foreign(name):
        raise ValueError(
            f"`weights` must name the weights of {name}: "
            + "imagenet, " * imagenet
            + "a file, " * given
            + "or none, for an untrained network. "
            "Received: nothing. Give --weights."
        )
    check_choice((None, *POOLS), pool=pool)
    if not (imagenet and weights == "imagenet"):  # which may have to be downloaded
        find_weights(name, weights)


def _alike(name):
    """The names of a family of backbones, where one is meant; else the families."""
    family = [each for each in BACKBONES if each.startswith(f"{name.split(':')[0]}:")]
    alone = [each for each in BACKBONES if ":" not in each]
    return family or [f"{each}:NAME" for each in FAMILIES] + alone


def open_encoder(
    name: PathLike,
    weights: str | Weights | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    pool: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    say: Callable[[str], object] | None = None,
    resize: str | None = None,
) -> Encoder:
    """Opens an encoder: a trained one from disk, or a backbone with given weights.

    >>> from tfembed.backbones import open_encoder
    >>> encoder = open_encoder("small_conv", weights="none", image_size=32)
    >>> encoder.image_shape, encoder.resize, encoder.facts["backbone"]
    ((32, 32, 3), 'crop', 'small_conv')

    Args:
        name: A run directory (its `model.keras`), a saved Keras model, a name in
            `tfembed.backbones.BACKBONES`, or one's own, `module:function`.
        weights: Of a backbone, which must say: `"imagenet"`, a file, or `"none"`, as
            for `find_weights`; without any they are drawn from a fixed seed. One's own
            and those of other packages bring theirs: `None`.
        image_size: `(height, width)` or an integer for both: of a backbone, 224 by
            default; else only where the model takes images of any size.
        channels: 1 or 3: of a backbone, 3 by default; else only where the model takes
            any number.
        pool: Of a backbone, `"avg"` (default), `"max"` or `"gem"`.
        strategy: As for `Encoder`.
        say: Function that is given a line of progress of a download now and then.
        resize: `"squash"`, `"crop"` or `"pad"`, how pictures are brought to the size
            (`tfembed/ops/resize.py`): of a backbone, `"crop"` by default, as most
            networks are pretrained; a run's encoder has its own.

    Returns:
        An `Encoder`. A backbone's has `facts`: its name, `pool`, and `weights`, what
        `Weights.record()` says, or `None`.

    Raises:
        ValueError: As `check_encoder`, `find_weights`, `build_backbone`, `Encoder`.
        ImportError: If a package is missing.
    """
    from tfembed.backbones.encoder import Encoder, all_gpus

    name = os.fspath(name)
    check_encoder(name, weights, pool)
    if not is_backbone(name, weights):
        return Encoder(name, image_size, channels, strategy, resize)
    from tfembed.backbones.build import build_backbone

    found = find_weights(name, weights, say)
    shape, pool = backbone_shape(image_size, channels), pool or "avg"
    strategy = strategy or all_gpus()
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = build_backbone(name, shape, seed=_SEED, weights=found, pool=pool)
    encoder = Encoder(model, strategy=strategy, resize=backbone_resize(resize))
    record = None if found is None else found.record()
    encoder.name = name
    encoder.sha256 = _digest(model, name, shape, pool)
    encoder.facts = {"backbone": name, "pool": pool, "weights": record}
    return encoder


def backbone_shape(
    image_size: int | tuple[int, int] | None = None, channels: int | None = None
) -> tuple[int, int, int]:
    """Returns the `(height, width, channels)` that a backbone is built for.

    >>> from tfembed.backbones import backbone_shape
    >>> backbone_shape(), backbone_shape(32, channels=1)
    ((224, 224, 3), (32, 32, 1))
    """
    size = IMAGE_SIZE if image_size is None else image_size
    height, width = (size, size) if isinstance(size, int) else size
    return height, width, 3 if channels is None else channels


def backbone_resize(resize: str | None = None) -> str:
    """Returns how pictures are brought to the size that a backbone is built for.

    >>> from tfembed.backbones import backbone_resize
    >>> backbone_resize(), backbone_resize("pad")
    ('crop', 'pad')
    """
    return RESIZE if resize is None else resize


def _digest(model, *facts):
    """Digests what tells an encoder from another; the names of layers do not.

    They count on within a process: a second model of a kind has others.
    """
    import numpy as np

    digest = hashlib.sha256(repr(facts).encode())
    for weight in model.get_weights():
        digest.update(f"{weight.dtype} {weight.shape};".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
