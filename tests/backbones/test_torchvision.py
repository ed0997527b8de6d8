"""torchvision's networks: PyTorch's features, others' layouts, what is refused."""

import functools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from backbones.torch_writer import Code, Filled, write_legacy, write_zip
from peers.torch_weights import draw_images, draw_state

from tfembed.backbones import build_backbone, find_weights
from tfembed.backbones.state_dict import match_names
from tfembed.backbones.torchvision import TORCHVISION

RECORDED = Path(__file__).resolve().parents[1] / "peers" / "torchvision"
SHAPE = (64, 48, 3)


@functools.lru_cache
def recorded(name):
    with np.load(RECORDED / f"{name}.npz") as file:
        settings = json.loads(str(file["settings"]))
        return settings["seed"], settings["shapes"], file["features"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in TORCHVISION[2:] else [])
        for name in TORCHVISION
    ],
)
def test_the_features_are_pytorchs(name, tmp_path):
    seed, shapes, expected = recorded(name)
    path = tmp_path / "model.pth"
    write_zip(path, draw_state(shapes, seed))
    model = build_backbone(f"torchvision:{name}", SHAPE, weights=path)
    features = model(draw_images(seed), training=False).numpy()
    assert expected.std() > 0.05
    np.testing.assert_allclose(features, expected, atol=1e-4)


def names(form):
    """Weights of a ResNet-18, each tensor of one number, in a layout's own names."""
    _, shapes, _ = recorded("resnet18")
    numbers = {name: 1 + place / 1000 for place, name in enumerate(sorted(shapes))}
    state = {name: Filled(numbers[name], shape) for name, shape in shapes.items()}
    body = {name: each for name, each in state.items() if not name.startswith("fc.")}
    other = {name: Filled(9.0, each.shape) for name, each in body.items()}
    head = Filled(9.0, (16, 512))
    optimizer = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    namespace = Code(b"cargparse\nNamespace\n)\x81")

    def under(prefix, some):
        return {prefix + name: each for name, each in some.items()}

    number = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    numbered = {}
    for name, each in body.items():
        top, _, rest = name.partition(".")
        numbered[f"{number[top]}.{rest}"] = each
    return {
        "torchvision": state,
        "timm": state,
        "moco": {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": {
                **under("module.encoder_q.", body),
                **under("module.encoder_k.", other),
                "module.encoder_q.fc.0.weight": head,
                "module.queue": Filled(9.0, (16, 8)),
                "module.queue_ptr": Filled(9.0, (1,)),
            },
            "optimizer": optimizer,
        },
        "dino": {
            "student": {
                **under("module.backbone.", other),
                "module.head.mlp.0.weight": head,
            },
            "teacher": {**under("backbone.", body), "head.mlp.0.weight": head},
            "optimizer": optimizer,
            "epoch": 3,
            "args": namespace,
        },
        "student": {"student": under("module.backbone.", body), "epoch": 3},
        "lightly": {
            "epoch": 3,
            "pytorch-lightning_version": "2.0",
            "state_dict": {
                **under("backbone.", numbered),
                **under("backbone_momentum.", other),
                "projection_head.layers.0.weight": head,
            },
            "hyper_parameters": namespace,
        },
        "lemniscate": {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": {**under("module.", body), "module.fc.weight": head},
            "lemniscate": Code(b"clib.NCEAverage\nNCEAverage\n)\x81}b"),
            "best_prec1": 0.4,
            "optimizer": optimizer,
        },
        "model": {"model": body, "epoch": 3},
    }[form], numbers


@pytest.fixture(scope="module")
def untrained():
    return build_backbone("torchvision:resnet18", (32, 32, 3), seed=0)


@pytest.mark.parametrize(
    ("form", "beside"),
    [
        ("torchvision", None),  # its classifier alone
        ("timm", None),
        ("moco", "fc.0.weight, module.encoder_k"),
        ("dino", "head.mlp.0.weight"),
        ("student", None),
        ("lightly", "backbone_momentum"),
        ("lemniscate", None),
        ("model", None),
    ],
)
def test_each_layout_is_read(form, beside, untrained, tmp_path, caplog):
    from tfembed.backbones import resnet
    from tfembed.backbones.torchvision import _load

    state, numbers = names(form)
    path = tmp_path / "model.pth"
    (write_legacy if form in ("moco", "lemniscate") else write_zip)(path, state)
    with caplog.at_level(logging.WARNING):
        _load(untrained, resnet.torch_name, str(path), "torchvision's resnet18")
    assert (beside or "") in caplog.text
    assert bool(caplog.text) == bool(beside)
    told = len(caplog.records)
    _load(untrained, resnet.torch_name, str(path), "torchvision's resnet18")
    assert len(caplog.records) == told  # once
    if form == "lightly":
        assert "projection_head.layers.0.weight" in caplog.text
    checked = 0
    for layer in untrained.layers:
        parts = ["weight", "bias", "running_mean", "running_var"]
        for part, value in zip(parts, layer.get_weights()):
            name = f"{resnet.torch_name(layer.name)}.{part}"
            np.testing.assert_allclose(value, numbers[name], rtol=1e-6, err_msg=name)
            checked += 1
    assert checked == 20 + 4 * 20


def test_lightlys_numbers_of_mobilenet():
    from tfembed.backbones.torch_file import StoredTensor

    def tensor(number):
        content = np.float32([number]).tobytes()
        return StoredTensor(lambda length: content, "<f4", 1, 0, (1,), (1,))

    wanted = {"features.0.0.weight": (1,), "features.1.conv.1.weight": (1,)}
    state = {
        "backbone.0.0.0.weight": tensor(1),
        "backbone.0.1.conv.1.weight": tensor(2),
    }
    found, left_out = match_names(state, wanted, "x.ckpt", "mobilenet_v2")
    assert [found[name].numpy()[0] for name in wanted] == [1, 2]
    assert left_out == []


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: without(s, "layer2.0.downsample.1.running_var"),
            "1 of 100 missing, layer2.0.downsample.1.running_var",
        ),
        (
            lambda s: {**s, "layer4.1.conv2.weight": Filled(1, (512, 512, 1, 1))},
            r"'layer4.1.conv2.weight' of shape \(512, 512, 1, 1\), not "
            r"\(512, 512, 3, 3\)",
        ),
        (
            lambda s: {**s, "layer3.2.conv1.weight": Filled(1, (256, 256, 3, 3))},
            "1 more, layer3.2.conv1.weight",
        ),
        (
            lambda s: {**s, "conv1.weight": Code(b"cos\nsystem\n)R")},
            "a tensor at 'conv1.weight'. Received: a pickled os.system",
        ),
        (lambda s: {**s, "bn1.bias": 3}, "a tensor at 'bn1.bias'. Received: a int"),
        (
            lambda s: {**s, "bn1.bias": Filled(np.nan, (64,))},
            "finite numbers. Received: 'bn1.bias'",
        ),
        (
            lambda s: {f"blocks.{k}": v for k, v in s.items()},
            "100 of 100 missing.*blocks.",
        ),
        (lambda s: {"epoch": 3, "args": "x"}, "a dictionary of epoch, args"),
        (lambda s: {"state_dict": [1, 2]}, "a dictionary of state_dict"),
        (lambda s: [1, 2], "a list"),
    ],
)
def test_another_layout_is_refused_by_name(change, message, untrained, tmp_path):
    from tfembed.backbones import resnet
    from tfembed.backbones.torchvision import _load

    path = tmp_path / "model.pth"
    write_zip(path, change(names("torchvision")[0]))
    before = untrained.get_weights()
    with pytest.raises(ValueError, match=f"model.pth.*Received: .*{message}|{message}"):
        _load(untrained, resnet.torch_name, str(path), "torchvision's resnet18")
    for old, new in zip(before, untrained.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_a_deeper_networks_file_is_refused():
    """All of ResNet-50's names are in ResNet-101's file, with the same shapes."""
    from tfembed.backbones.torch_file import StoredTensor

    def state(name):
        _, shapes, _ = recorded(name)
        return {
            key: StoredTensor(None, "<f4", 1, 0, shape, (0,) * len(shape))
            for key, shape in shapes.items()
        }

    wanted = {
        key: value.shape
        for key, value in state("resnet50").items()
        if not key.startswith("fc.") and not key.endswith("num_batches_tracked")
    }
    match_names(state("resnet50"), wanted, "resnet50.pth", "resnet50")
    with pytest.raises(ValueError, match="layer3.6.conv1.weight"):
        match_names(state("resnet101"), wanted, "resnet101.pth", "resnet50")


def test_the_file_says_where_it_is_from(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"abc")
    record = find_weights("torchvision:resnet18", str(path)).record()
    assert record["file"] == "mine.pth"
    assert record["source"] == "a given file"
    assert record["checked"] == "unverified"
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record["sha256"] == digest
    published = tmp_path / "resnet18-ba7816bf.pth"
    published.write_bytes(b"abc")
    record = find_weights("torchvision:resnet18", str(published)).record()
    assert record["source"] == f"https://download.pytorch.org/models/{published.name}"
    assert "BSD-3-Clause" in record["licence"]
    assert find_weights("torchvision:resnet34", str(published)).source == "a given file"
    published.write_bytes(b"abd")
    assert find_weights("torchvision:resnet18", str(published)).source == "a given file"


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("torchvision:resnet18", "imagenet", "PyTorch or safetensors wrote.*imagenet"),
        ("torchvision:resnet18", "no.pth", "not a file"),
        ("applications:ResNet50", "no.h5", "must be none, imagenet, or an HDF5"),
        ("small_conv", "imagenet", "applications:NAME.*keras:FILE"),
        ("keras:mine.keras", "imagenet", "applications:NAME.*keras:FILE"),
    ],
)
def test_weights_that_do_not_go_with_a_backbone(backbone, weights, message):
    with pytest.raises(ValueError, match=message):
        find_weights(backbone, weights)


def test_grey_images_become_three_channels():
    grey = build_backbone("torchvision:resnet18", (32, 32, 1), seed=1)
    colour = build_backbone("torchvision:resnet18", (32, 32, 3))
    colour.set_weights(grey.get_weights())
    images = draw_images(2, (2, 32, 32, 1))
    np.testing.assert_allclose(
        grey(images), colour(np.repeat(images, 3, axis=3)), atol=1e-4
    )
