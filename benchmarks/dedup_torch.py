"""The other side of `dedup.py`: the package imagededup.

    python benchmarks/dedup_torch.py METHOD FOLDER WEIGHTS SIZE

METHOD is CNN (torchvision's MobileNetV2 with the weights of a file, squashed photos,
the mean of the last feature map), or PHash, DHash, AHash or WHash. Writes the pairs
that it finds to FOLDER/METHOD.npz, with the processors' seconds and the peak of memory.
Runs in an environment with imagededup and torchvision, without TensorFlow.
"""

import argparse
import os
from pathlib import Path

import measure

LOWEST, GREATEST = 0.85, 16


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=("CNN", "PHash", "DHash", "AHash", "WHash"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights")
    parser.add_argument("size", type=int)
    return parser.parse_args(argv)


def network(weights, size):
    """Returns imagededup's description of MobileNetV2's features."""
    import torch
    import torchvision
    from imagededup.utils import CustomModel

    whole = torchvision.models.mobilenet_v2()
    whole.load_state_dict(torch.load(weights))
    features = torch.nn.Sequential(
        whole.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    transforms = torchvision.transforms
    transform = transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return CustomModel(name="mobilenet_v2", model=features.eval(), transform=transform)


def main(argv=None):
    """Encodes and compares."""
    options = parse(argv)
    import numpy as np
    from imagededup import methods

    photos = options.folder / "photos"
    if options.method == "CNN":
        model = network(options.weights, options.size)
        method = methods.CNN(verbose=False, model_config=model)
        limit = {"min_similarity_threshold": LOWEST}
    else:
        method = getattr(methods, options.method)(verbose=False)
        limit = {"max_distance_threshold": GREATEST}
    codes = method.encode_images(image_dir=photos, recursive=True)
    found = method.find_duplicates(encoding_map=codes, scores=True, **limit)
    times = os.times()
    seconds = times.user + times.system + times.children_user + times.children_system
    names = sorted(codes)
    number = {name: row for row, name in enumerate(names)}
    pairs = {
        tuple(sorted((number[name], number[other]))): float(score)
        for name, others in found.items()
        for other, score in others
    }
    rows = np.array(list(pairs), np.int64).reshape(-1, 2)
    ids = [str(Path(name).as_posix()) for name in names]
    np.savez(
        options.folder / f"{options.method}.npz",
        ids=np.array(ids),
        first=rows[:, 0],
        second=rows[:, 1],
        scores=np.array(list(pairs.values())),
        seconds=seconds,
        megabytes=measure.peak_mb(),
    )


if __name__ == "__main__":
    main()
