"""Instance similarity learning on CIFAR-10, ResNet-18, as the official code trains it.

    python -m tfembed.recipes.isl --config recipes/isl_cifar10.py

Not run here: four rounds of 200 epochs of a ResNet-18, with a GAN and mining between
them, want a GPU for days (Wang et al., 2021, https://arxiv.org/abs/2108.02721, whose
code names four days on one GPU for ImageNet). Settings as in the official code for
small images: full softmax, temperature 0.1, no flip, a bank of uniform numbers; a GAN
of at most 200 epochs; proxies above a score of 0.5, within a cosine of 0.6 or more by
the score; half a positive an image and round. With `--preset paper` where the two
differ as the paper says.

The code lowers the learning rate by the kNN accuracy on the test images. No label has
a say here: the rate drops to a tenth after 480 of the 800 epochs, to a hundredth after
640.
"""

from tfembed.recipes.isl import Config

config = Config(
    **Config.PRESETS["code"],
    dataset="cifar10",
    limit=None,
    rounds=4,
    epochs=800,
    temperature=0.1,
    momentum=0.5,
    bank_init="paper",
    hard_weight=0.5,
    set_width=128,
    backbone="resnet18_cifar",
    head_norm=False,
    learning_rate=0.03,
    weight_decay=5e-4,
    schedule="step",
    batch_size=128,
    crop_min=0.2,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.4,
    grayscale=0.2,
    flip=0.0,
    gan_batch_size=128,
    gan_learning_rate=1e-4,
    gan_epochs=200,
    gan_least_epochs=10,
    gan_patience=3,
    score=0.5,
    mining_passes=200,
    mining_target=0.5,
    knn_temperature=0.1,
    knn_every=5,
)
