"""Writes what torchvision's networks compute, and small files that PyTorch saves.

    python3 -m venv /tmp/torch
    /tmp/torch/bin/pip install torch==2.14.1 torchvision==0.29.1 numpy safetensors
    /tmp/torch/bin/python tests/peers/make_torchvision.py

Not run by the tests: they read the files, which stand in `torchvision/` beside this
script, and need neither PyTorch nor the network. `NETWORK.npz` holds

    settings   JSON: the versions, the seed, and {name: shape} of the state_dict
    features   of two images, the mean of the last feature map

for weights and images that `torch_weights` draws from the seed, so that no weights are
kept. `tensors.npz` holds what is in the `tensors.*` files: one dictionary of all
dtypes, views and shared storages, in each form that PyTorch and safetensors have.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch_weights import draw_images, draw_state

FOLDER = Path(__file__).resolve().with_name("torchvision")
NETWORKS = ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEED = 5


def features_of(name):
    """Returns the shapes of a network's state, and its features."""
    network = getattr(torchvision.models, name)(weights=None).eval()
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    state = draw_state(shapes, SEED)
    network.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    images = torch.tensor(draw_images(SEED)).permute(0, 3, 1, 2) / 255
    images = (images - torch.tensor(MEAN)[:, None, None]) / (
        torch.tensor(STD)[:, None, None]
    )
    with torch.no_grad():
        if name == "mobilenet_v2":
            features = network.features(images).mean((2, 3))
        else:
            network.fc = torch.nn.Identity()
            features = network(images)
    return shapes, features.numpy()


def tensors():
    """Returns tensors of every kind: dtypes, views, shared numbers, none."""
    rng = np.random.default_rng(SEED)
    base = torch.tensor(rng.standard_normal((4, 6)), dtype=torch.float32)
    found = {
        str(dtype)[len("torch.") :]: base.to(dtype)
        for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    }
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        found[str(dtype)[len("torch.") :]] = (base * 20).abs().to(dtype)
    found["bool"] = base > 0
    found["scalar"] = torch.tensor(2.5)
    found["empty"] = torch.zeros(0, 3)
    found["transposed"] = base.t()
    found["slice"] = base[1:3, 2:5]
    found["parameter"] = torch.nn.Parameter(base + 1)
    return found


def main(argv=None):
    """Writes all files, or those of some networks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=[*NETWORKS, "tensors"])
    FOLDER.mkdir(exist_ok=True)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    for name in parser.parse_args(argv).names:
        if name == "tensors":
            found = tensors()
            checkpoint = {"epoch": 3, "state_dict": found, "best": 0.5}
            torch.save(checkpoint, FOLDER / "tensors.pth")
            torch.save(
                checkpoint,
                FOLDER / "tensors.legacy.pth",
                _use_new_zipfile_serialization=False,
            )
            plain = {key: value.detach().contiguous() for key, value in found.items()}
            save_file(plain, FOLDER / "tensors.safetensors")
            arrays = {
                key: (value.float() if value.dtype == torch.bfloat16 else value).numpy()
                for key, value in plain.items()
            }
            np.savez_compressed(FOLDER / "tensors.npz", **arrays)
            continue
        shapes, features = features_of(name)
        settings = json.dumps({**versions, "seed": SEED, "shapes": shapes})
        np.savez_compressed(
            FOLDER / f"{name}.npz", settings=settings, features=features
        )
        print(f"{name}: {features.shape}, standard deviation {features.std():.3f}")


if __name__ == "__main__":
    main()
