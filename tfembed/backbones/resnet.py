"""Residual networks (He et al. 2015, https://arxiv.org/abs/1512.03385).

Arranged as in torchvision, where the published instance-discrimination numbers were
made: symmetric padding, the stride on the 3x3 convolution of a bottleneck, batch norm
with momentum 0.9 and epsilon 1e-5, kernels drawn normal with variance 2 / fan-out. The
`_cifar` ones begin with a 3x3 convolution of stride 1 and no max-pool, so that an
image of 32x32 ends as a map of 4x4 and not of 1x1.
"""

import re

from tensorflow import keras

from tfembed.backbones.scaling import pool, scale

__all__ = ["resnet", "torch_name"]

_BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}


def resnet(name, image_shape, synchronized, scaling=scale, pooling="avg"):
    """Builds a residual network.

    Args:
        name: `resnet18`, `34`, `50` or `101`, with `_cifar` for the stem of small
            images.
        image_shape: `(height, width, channels)`.
        synchronized: As in `build_backbone`.
        scaling: What is done to the images first.
        pooling: What is done to the feature map last, as in `pool`.
    """
    depth, _, small = name.partition("_")
    net = _Layers(synchronized)
    block = net.basic if depth in ("resnet18", "resnet34") else net.bottleneck
    images = keras.Input(image_shape, name="images")
    x = scaling(images)
    if small:
        x = net.relu(net.norm(net.conv(x, 64, 3, 1, "stem"), "stem"))
    else:
        x = net.relu(net.norm(net.conv(x, 64, 7, 2, "stem"), "stem"))
        # The values are not negative here, so padding with 0 is padding with nothing.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    for stage, blocks in enumerate(_BLOCKS[depth]):
        for number in range(blocks):
            stride = 2 if stage and not number else 1
            x = block(x, 64 * 2**stage, stride, f"stage{stage + 1}_block{number + 1}")
    return keras.Model(images, pool(x, pooling), name=name)


def torch_name(layer_name):
    """Returns what torchvision calls a layer of `resnet`."""
    kind = {"conv": "conv", "norm": "bn"}
    stem = re.fullmatch(r"stem_(conv|norm)", layer_name)
    if stem:
        return f"{kind[stem[1]]}1"
    stage, block, part, what = re.fullmatch(
        r"stage(\d)_block(\d+)_(\d|shortcut)_(conv|norm)", layer_name
    ).groups()
    inner = f"{kind[what]}{part}"
    if part == "shortcut":
        inner = "downsample.0" if what == "conv" else "downsample.1"
    return f"layer{stage}.{int(block) - 1}.{inner}"


class _Layers:
    """The layers of a residual network, named after their place."""

    def __init__(self, synchronized):
        self._synchronized = synchronized

    def conv(self, x, width, size, stride, name):
        if size > 1:
            x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        return keras.layers.Conv2D(
            width,
            size,
            strides=stride,
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            name=f"{name}_conv",
        )(x)

    def norm(self, x, name):
        return keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            synchronized=self._synchronized,
            name=f"{name}_norm",
        )(x)

    def relu(self, x):
        return keras.layers.ReLU()(x)

    def basic(self, x, width, stride, name):
        y = self.conv(x, width, 3, stride, f"{name}_1")
        y = self.relu(self.norm(y, f"{name}_1"))
        y = self.conv(y, width, 3, 1, f"{name}_2")
        y = self.norm(y, f"{name}_2")
        return self._add(x, y, width, stride, name)

    def bottleneck(self, x, width, stride, name):
        y = self.conv(x, width, 1, 1, f"{name}_1")
        y = self.relu(self.norm(y, f"{name}_1"))
        y = self.conv(y, width, 3, stride, f"{name}_2")
        y = self.relu(self.norm(y, f"{name}_2"))
        y = self.conv(y, 4 * width, 1, 1, f"{name}_3")
        y = self.norm(y, f"{name}_3")
        return self._add(x, y, 4 * width, stride, name)

    def _add(self, x, y, width, stride, name):
        if stride != 1 or x.shape[-1] != width:
            x = self.conv(x, width, 1, stride, f"{name}_shortcut")
            x = self.norm(x, f"{name}_shortcut")
        return self.relu(keras.layers.Add(name=f"{name}_add")([x, y]))
