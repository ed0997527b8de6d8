"""The other side of `augmentation.py`: torchvision's and lightly's transforms.

    python benchmarks/augmentation_torch.py SIZE BATCH

Prints a line of JSON, `{name: images a second of the processor}`; lightly's is left out
where it is not installed. Runs in an environment without TensorFlow.
"""

import json
import sys
import time

import numpy as np


def images_of(size, batch):
    """Returns drawn images with large structures, of PIL."""
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (batch, 8, 8, 3), np.uint8)
    return [Image.fromarray(each).resize((size, size)) for each in coarse]


def by_torchvision(size):
    """Returns torchvision's transforms of the same names and strengths."""
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.2, 1.0)),
            transforms.ColorJitter(0.4, 0.4, 0.4, 0.4),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )


def by_lightly(size):
    """Returns lightly's SimCLR view without blur, or `None` without lightly."""
    try:
        from lightly.transforms.simclr_transform import SimCLRViewTransform
    except ImportError:
        return None
    return SimCLRViewTransform(
        input_size=size,
        cj_prob=1.0,
        cj_strength=1.0,
        cj_bright=0.4,
        cj_contrast=0.4,
        cj_sat=0.4,
        cj_hue=0.4,
        min_scale=0.2,
        random_gray_scale=0.2,
        gaussian_blur=0.0,
    )


def main():
    """Measures each, a batch at a time."""
    import torch

    torch.set_num_threads(1)
    size, batch = map(int, sys.argv[1:3])
    images = images_of(size, batch)
    found = {}
    for name, transform in (
        ("torchvision, image by image", by_torchvision(size)),
        ("lightly, image by image", by_lightly(size)),
    ):
        if transform is None:
            continue
        seconds = []
        for _ in range(6):
            start = time.process_time()
            torch.stack([transform(image) for image in images])
            seconds.append(time.process_time() - start)
        found[name] = batch / sorted(seconds[1:])[2]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
