"""Networks in torchvision's layout, with weights from PyTorch's files.

Most checkpoints of this field are such: torchvision's own, timm's ResNets, MoCo, DINO,
lightly, lemniscate. Symmetric padding, epsilon 1e-5, ImageNet's mean and deviation.
"""

import functools
import logging
import os
import re

import numpy as np

from tfembed.backbones.state_dict import find_state_dict, match_names
from tfembed.backbones.torch_file import read_torch_file
from tfembed.backbones.weights_file import Weights, own_file

__all__ = ["TORCHVISION", "find_file", "torchvision_backbone"]

_LOG = logging.getLogger(__name__)
TORCHVISION = ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101")
_ENDINGS = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors")
_NAMED, _GROUPS = 4, 20  # of what is left out, in its line
# What a file has besides where nothing but a classifier stood on the network. That an
# encoder does without it goes without saying.
_CLASSIFIERS = frozenset(
    f"{layer}.{part}"
    for layer in ("fc", "classifier", "classifier.1")
    for part in ("weight", "bias")
)
_ADDRESS = "https://download.pytorch.org/models"
_FILE = re.compile(r"(\w+)-([0-9a-f]{8})\.pth")  # torchvision's: the digest's beginning


def find_file(variant, weights):
    """Returns the `Weights` of a PyTorch file.

    Raises:
        ValueError: If it is none.
    """
    found = own_file(
        f"torchvision:{variant}",
        weights,
        _ENDINGS,
        f"a file that PyTorch or safetensors wrote ({' '.join(_ENDINGS)})",
    )
    name = os.path.basename(found.path)
    published = _FILE.fullmatch(name)
    if published and published[1] == variant and found.sha256.startswith(published[2]):
        return Weights(
            found.path,
            f"{_ADDRESS}/{name}",
            found.sha256,
            "BSD-3-Clause (torchvision)",
            "the SHA-256 begins as torchvision's file name says",
        )
    return found


def torchvision_backbone(
    variant, image_shape, synchronized, weights=None, seed=None, pooling="avg"
):
    """Builds the backbone `torchvision:variant`.

    Args:
        variant: A name in `TORCHVISION`.
        image_shape: `(height, width, channels)`; grey images become three channels.
        synchronized: As in `build_backbone`.
        weights: A `Weights`, or `None`.
        seed: Of the initial weights, where none are given.
        pooling: As in `tfembed.backbones.scaling.pool`.

    Raises:
        ValueError: If the file does not hold the weights of this network.
    """
    from tfembed.backbones import mobilenet_v2, resnet
    from tfembed.backbones.scaling import as_rgb, normalize_imagenet
    from tfembed.backbones.seeding import seed_kernels

    def scaling(images):
        return normalize_imagenet(as_rgb(images))

    if variant == "mobilenet_v2":
        module = mobilenet_v2
        model = module.mobilenet_v2(image_shape, synchronized, scaling, pooling)
    else:
        module = resnet
        model = module.resnet(variant, image_shape, synchronized, scaling, pooling)
    if weights is not None:
        _load(model, module.torch_name, weights.path, f"torchvision's {variant}")
    elif seed is not None:
        seed_kernels(model, seed)
    return model


def _load(model, torch_name, path, network):
    places = {}  # torchvision's name: (the layer, which of its weights, axes)
    for layer in model.layers:
        if not layer.weights or layer.name == "pool":
            continue
        name = torch_name(layer.name)
        if type(layer).__name__ == "BatchNormalization":
            for number, part in enumerate(
                ("weight", "bias", "running_mean", "running_var")
            ):
                places[f"{name}.{part}"] = (layer, number, (0,))
        else:
            depthwise = type(layer).__name__ == "DepthwiseConv2D"
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            places[f"{name}.weight"] = (layer, 0, axes)
    values = {id(layer): layer.get_weights() for layer, _, _ in places.values()}
    wanted = {}
    for name, (layer, number, axes) in places.items():
        shape = values[id(layer)][number].shape
        wanted[name] = tuple(shape[axes.index(side)] for side in range(len(shape)))
    state = find_state_dict(read_torch_file(path), path)
    found, left_out = match_names(state, wanted, path, network)
    for name, (layer, number, axes) in places.items():
        try:
            array = found[name].numpy()
        except (ValueError, OSError, MemoryError) as error:
            raise ValueError(
                f"{path!r} must be whole. Received: {name!r} cannot be read: {error} "
                "Get it again."
            ) from error
        array = np.transpose(array, axes).astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(
                f"{path!r} must hold finite numbers. Received: {name!r} with others."
            )
        values[id(layer)][number] = array
    for layer in model.layers:
        if id(layer) in values:
            layer.set_weights(values[id(layer)])
    if not _CLASSIFIERS.issuperset(left_out):
        _tell_left_out(path, _grouped(left_out))


@functools.cache  # once in a process, however often it is read
def _tell_left_out(path, names):
    _LOG.warning("Left out of %s: %s.", os.path.basename(path), names)


def _grouped(names):
    """Names a few; of many alike the beginning, `module.encoder_k.*`."""
    groups = {}
    for name in names:
        top = re.match(r"(module\.)?[^.]*", name)[0]
        groups.setdefault(top, []).append(name)
    shown = [
        name
        for top, inside in groups.items()
        for name in (inside if len(inside) <= _NAMED else [f"{top}.*"])
    ]
    return ", ".join(shown[:_GROUPS]) + (", ..." if len(shown) > _GROUPS else "")
