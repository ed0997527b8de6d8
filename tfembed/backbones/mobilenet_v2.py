"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381).

Arranged as in torchvision: symmetric padding, batch norm with momentum 0.9 and epsilon
1e-5. A layer is named after torchvision's module, `features_1_conv_0_0` after
`features.1.conv.0.0`.
"""

from tensorflow import keras

from tfembed.backbones.scaling import normalize_imagenet, pool

__all__ = ["mobilenet_v2", "torch_name"]

# Factor of the expansion, width, how many blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(image_shape, synchronized, scaling=normalize_imagenet, pooling="avg"):
    """Builds MobileNetV2 of width 1: 1,280 features."""
    net = _Layers(synchronized)
    images = keras.Input(image_shape, name="images")
    x = net.conv(scaling(images), 32, 3, 2, "features_0_0")
    x = net.norm(x, "features_0_1", relu=True)
    number = 0
    for expansion, width, blocks, first_stride in _STAGES:
        for block in range(blocks):
            number += 1
            stride = 1 if block else first_stride
            x = net.block(x, width, expansion, stride, f"features_{number}_conv")
    x = net.conv(x, 1280, 1, 1, "features_18_0")
    x = net.norm(x, "features_18_1", relu=True)
    return keras.Model(images, pool(x, pooling), name="mobilenet_v2")


def torch_name(layer_name):
    """Returns what torchvision calls a layer of `mobilenet_v2`."""
    return layer_name.replace("_", ".")


class _Layers:
    """The layers of a MobileNetV2, named after their place."""

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
            kernel_initializer=_he_fan_out(),
            name=name,
        )(x)

    def depthwise(self, x, stride, name):
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return keras.layers.DepthwiseConv2D(
            3,
            strides=stride,
            use_bias=False,
            # PyTorch counts the outputs of all channels: 9 of each.
            depthwise_initializer=keras.initializers.RandomNormal(
                stddev=(2.0 / (9 * x.shape[-1])) ** 0.5
            ),
            name=name,
        )(x)

    def norm(self, x, name, relu):
        x = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=self._synchronized, name=name
        )(x)
        return keras.layers.ReLU(6.0)(x) if relu else x

    def block(self, x, width, expansion, stride, name):
        y, part = x, 0
        if expansion != 1:
            y = self.conv(y, expansion * x.shape[-1], 1, 1, f"{name}_0_0")
            y = self.norm(y, f"{name}_0_1", relu=True)
            part = 1
        y = self.depthwise(y, stride, f"{name}_{part}_0")
        y = self.norm(y, f"{name}_{part}_1", relu=True)
        y = self.conv(y, width, 1, 1, f"{name}_{part + 1}")
        y = self.norm(y, f"{name}_{part + 2}", relu=False)
        if stride == 1 and x.shape[-1] == width:
            y = keras.layers.Add(name=f"{name}_add")([x, y])
        return y


def _he_fan_out():
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )
