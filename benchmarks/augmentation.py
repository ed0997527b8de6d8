"""Augmenting a batch: keras-cv's layers, the fast way, and other libraries.

    python benchmarks/augmentation.py --sizes 32 64 224
    python benchmarks/augmentation.py --torch-python PYTHON

Crop, jitter, grayscale and flip of `tfembed.data.Augmentation` with its defaults, on
images of drawn smooth content, a batch of 64 (32 above 128 px), float32 out, as a
`tf.data` map runs it; the variants in turn. `FastAugmentation` makes the images of
keras-cv's layers; "tf.image" is what one writes with its functions, one image at a
time: the same steps, and another distribution (its jitter draws for each image, its
brightness is the same). With `--torch-python`, the Python of an environment with
torchvision and lightly: their transforms of the same names and strengths (lightly's is
its SimCLR transform without blur), one image at a time from PIL, as they are used; one
process, and a line each.

Images a second are of the processor's time, so that other work on the machine and the
number of cores weigh little; the ratio is to keras-cv's layers in the same run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import measure
import numpy as np

STRENGTHS = {
    "crop_area": (0.2, 1.0),
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.4,
    "grayscale": 0.2,
    "flip": 0.5,
}


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 224])
    parser.add_argument("--batch", type=int, help="64, and 32 above 128 px")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--torch-python", help="a Python with torchvision")
    return parser.parse_args(argv)


def smooth(count, size, seed=0):
    """Returns drawn images with large structures, uint8."""
    import tensorflow as tf

    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3))
    return np.uint8(tf.image.resize(coarse, (size, size)))


def by_tf_image(size):
    """Returns the same steps by functions of `tf.image`, image by image."""
    import tensorflow as tf

    def one(values):
        image, seed = values
        area = tf.random.stateless_uniform((), seed, *STRENGTHS["crop_area"])
        side = tf.cast(size * tf.sqrt(area), tf.int32)
        image = tf.image.stateless_random_crop(image, [side, side, 3], seed)
        image = tf.image.resize(image, (size, size)) / 255
        image = tf.image.stateless_random_brightness(image, 0.4, seed)
        image = tf.image.stateless_random_contrast(image, 0.6, 1.4, seed)
        image = tf.image.stateless_random_saturation(image, 0.6, 1.4, seed)
        image = tf.image.stateless_random_hue(image, 0.4, seed)
        gray = tf.random.stateless_uniform((), seed) < STRENGTHS["grayscale"]
        image = tf.cond(
            gray,
            lambda: tf.tile(tf.image.rgb_to_grayscale(image), [1, 1, 3]),
            lambda: image,
        )
        image = tf.image.stateless_random_flip_left_right(image, seed)
        return 255 * tf.clip_by_value(image, 0, 1)

    def augment(images, seed):
        count = images.shape[0]
        seeds = tf.stack([tf.tile(seed[:1], [count]), seed[1] + tf.range(count)], 1)
        return tf.map_fn(one, (images, seeds), fn_output_signature=tf.float32)

    return augment


def rates(size, batch, repetitions):
    """Returns `{variant: images a second of the processor}`, measured in turn."""
    import tensorflow as tf

    from tfembed.data import Augmentation, FastAugmentation

    images = tf.constant(smooth(batch, size))
    variants = {
        "keras-cv's layers": Augmentation((size, size, 3), **STRENGTHS),
        "fast": FastAugmentation((size, size, 3), **STRENGTHS),
        "tf.image, image by image": by_tf_image(size),
    }
    traced = {
        name: tf.function(variant).get_concrete_function(
            images, tf.TensorSpec((2,), tf.int32)
        )
        for name, variant in variants.items()
    }
    seconds = {name: [] for name in traced}
    for number in range(1 + repetitions):
        for name, augment in traced.items():
            start = time.process_time()
            augment(images, tf.constant([0, number])).numpy()
            if number:
                seconds[name].append(time.process_time() - start)
    return {name: batch / measure.median(taken) for name, taken in seconds.items()}


def main(argv=None):
    """Measures and prints a table a size."""
    options = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for size in options.sizes:
        batch = options.batch or (32 if size > 128 else 64)
        found = rates(size, batch, options.repetitions)
        if options.torch_python:
            script = Path(__file__).with_name("augmentation_torch.py")
            words = [options.torch_python, str(script), str(size), str(batch)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            found.update(json.loads(done.stdout.strip().splitlines()[-1]))
        first = found["keras-cv's layers"]
        measure.print_table(
            f"augmenting {size} px, batches of {batch}",
            ["variant", "images a second of a core", "times keras-cv's layers"],
            [
                [name, f"{rate:,.0f}", f"{rate / first:.2f}"]
                for name, rate in found.items()
            ],
        )
        print()


if __name__ == "__main__":
    sys.exit(main())
