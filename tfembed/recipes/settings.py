"""The settings that all recipes share: data, network, optimizer, evaluation."""

import dataclasses
from typing import Optional

from tfembed.backbones import BACKBONES, check_backbone
from tfembed.data import check_source, source_names
from tfembed.ops.image_formats import RESIZES
from tfembed.recipes import config as configs
from tfembed.recipes import own_parts
from tfembed.recipes.config import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a run; every field is a flag. A recipe's `Config` adds its own."""

    dataset: str = option("fashion_mnist", f"of images to train on: {source_names()}")
    data_dir: Optional[str] = option(None, "where the data set is, or is put")
    limit: Optional[int] = option(
        20000, "train on this many images, the first ones; none for all"
    )
    test_limit: Optional[int] = option(
        None, "evaluate on this many test images, and this many validation images"
    )
    split: str = option(
        "seen",
        "seen: evaluate on other images of the same classes, by neighbours' votes. "
        "unseen: train on half of the classes, evaluate by retrieval among the others. "
        "given: likewise, the test part having classes of its own",
        ("seen", "unseen", "given"),
    )
    holdout: int = option(
        0,
        "leave out this many training images and evaluate on them, not on test images; "
        "where the split is not seen, this many classes",
    )
    image_size: Optional[int] = option(None, "height and width; none for the source's")
    resize: str = option(
        "squash",
        "how pictures are brought to that size: squashed, or scaled with the aspect "
        "ratio kept and cropped or padded with white; the encoder is exported so",
        RESIZES,
    )
    strict: bool = option(False, "stop at an image that does not decode")

    backbone: str = option(
        "small_conv",
        "small_conv, resnet18_cifar, applications:NAME, torchvision:NAME, "
        "keras_cv:NAME, ..., "
        + "".join(f"{name}, " for name in BACKBONES.others())
        + "or keras:FILE, a saved model from images to features, or your own, "
        "module:function",
    )
    weights: Optional[str] = option(
        None,
        "of the backbone to begin with: imagenet, for applications: and keras_cv:, or "
        "a file, which for torchvision: is a state_dict (.pth, .safetensors); none for "
        "random ones",
    )
    dim: int = option(128, "length of an embedding")
    head_norm: bool = option(
        True, "batch normalisation without scale and centre before the unit norm"
    )

    init: Optional[str] = option(
        None,
        "start from the encoder of another run, of the same network; its directory, or "
        "a file .keras. Data, loss and all else may differ",
    )
    pool: str = option("avg", "of the last feature map", ("avg", "max", "gem"))

    frozen_batch_norm: Optional[bool] = option(
        None,
        "keep the backbone's batch norms as they are; by default where --weights are "
        "given",
    )
    backbone_rate: Optional[float] = option(
        None,
        "learning rate of the backbone, as a multiple; by default 0.1 where --weights "
        "are given, and 1",
    )
    layer_decay: float = option(
        1.0, "multiple of the rate from each layer of the backbone to the one before"
    )
    freeze_epochs: int = option(0, "first epochs, in which the backbone's rate is 0")
    ema: float = option(
        0.0, "momentum of averaged weights, which are measured and kept; 0 for none"
    )
    keep: str = option(
        "last",
        "which epoch's encoder: best by --monitor on validation images, never on test "
        "images",
        ("last", "best"),
    )
    monitor: Optional[str] = option(
        None,
        "what --keep best compares: a column of log.csv that is measured on validation "
        "images, by default knn_10 or MAP@R; or loss",
    )
    patience: Optional[int] = option(
        None, "with --keep best, stop after this many epochs without a better one"
    )

    optimizer: str = option(
        "sgd",
        "sgd as in the paper; lamb and sgdw need tensorflow-addons",
        ("sgd", "adam", "adamw", "lamb", "sgdw"),
    )
    learning_rate: float = option(0.03, "the first learning rate")
    sgd_momentum: float = option(0.9, "momentum of sgd and sgdw")
    weight_decay: float = option(0.0, "weight decay")
    schedule: str = option(
        "cosine", "of the learning rate", ("constant", "cosine", "step")
    )
    warmup_epochs: int = option(0, "epochs of linear warm-up")
    precision: str = option(
        "float32", "Keras policy", ("float32", "mixed_float16", "mixed_bfloat16")
    )
    batch_size: int = option(64, "images in a step, over all replicas")
    epochs: int = option(
        12,
        "passes over the images. A finished run (--run-dir) goes on with more of them, "
        "at the rate that the schedule of so many epochs has there",
    )
    seed: int = option(0, "of everything random")
    replicas: Optional[int] = option(
        None, "GPUs to use, or logical CPU devices; none for all GPUs or one CPU"
    )
    strategy: str = option(
        "mirrored",
        "mirrored, or multi_worker as TF_CONFIG says",
        ("mirrored", "multi_worker"),
    )

    augmentation: Optional[str] = option(
        None,
        "what augments in place of keras-cv's layers, whose strengths follow here: "
        "fast, which makes the same images in less time, or module:function, a "
        "function of images and a seed of your own",
    )
    crop_min: float = option(0.5, "smallest area of a random crop, 1 for no crop")
    brightness: float = option(0.3, "strength of the jitter, 0 for none")
    contrast: float = option(0.4, "strength of the jitter, 0 for none")
    saturation: float = option(0.4, "strength of the jitter; colour images only")
    hue: float = option(0.4, "strength of the jitter; colour images only")
    grayscale: float = option(0.2, "probability; colour images only")
    flip: float = option(0.0, "probability of a horizontal flip")

    callbacks: Optional[str] = option(
        None,
        "module:name of a Keras callback to train with, a class of one, or a function "
        "that returns some; several with commas between",
    )
    knn_temperature: float = option(0.07, "temperature of the neighbours' vote")
    knn_every: int = option(1, "evaluate every this many epochs")
    linear_probe: bool = option(True, "train linear classifiers at the end")
    nmi: bool = option(
        True, "cluster unseen classes at the end; takes long for thousands of classes"
    )

    def __post_init__(self):
        configs.check_choices(self)
        check_source(self.dataset)
        check_backbone(self.backbone, "backbone")
        counts = ["dim", "batch_size", "epochs", "knn_every", "replicas"]
        configs.check_range(self, counts, 1)
        configs.check_range(self, ["limit", "test_limit", "image_size"], 1)
        positive = ["knn_temperature", "learning_rate", "crop_min"]
        configs.check_range(self, positive, 0, open_low=True)
        configs.check_range(self, ["weight_decay", "holdout", "warmup_epochs"], 0)
        shares = ["crop_min", "brightness", "contrast", "saturation"]
        configs.check_range(self, [*shares, "grayscale", "flip"], 0, 1)
        configs.check_range(self, ["hue"], 0, 0.5)
        configs.check_range(self, ["backbone_rate", "freeze_epochs"], 0)
        configs.check_range(self, ["layer_decay"], 0, 1, open_low=True)
        configs.check_range(self, ["ema"], 0, 0.999999)
        configs.check_range(self, ["patience"], 1)
        if "," in (self.augmentation or ""):
            raise ValueError(
                "--augmentation takes one module:function. "
                f"Received: {self.augmentation!r}."
            )
        if self.augmentation not in (None, own_parts.FAST):
            own_parts.check_names("augmentation", self.augmentation)
        if self.callbacks is not None:
            own_parts.check_names("callbacks", self.callbacks)
        for name in ("monitor", "patience"):
            if self.keep == "last" and getattr(self, name) is not None:
                raise ValueError(
                    f"--{name} goes with --keep best. Received: --keep last, "
                    f"--{name} {getattr(self, name)}."
                )
