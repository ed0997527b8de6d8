"""The names of the backbones, with what each is."""

__all__ = ["BACKBONES"]

BACKBONES = {
    "small_conv": "four 3x3 convolutions, 32, 64, 128, 128 wide; 128 features",
    "resnet18_cifar": "ResNet-18 with a 3x3 stem, no max-pool; 512 features",
    "resnet50_cifar": "ResNet-50 with a 3x3 stem, no max-pool; 2,048 features",
    "resnet18": "ResNet-18 as for ImageNet; 512 features",
    "resnet50": "ResNet-50 as for ImageNet; 2,048 features",
    "keras_cv:resnet18": "keras-cv's ResNet-18; 512 features",
    "keras_cv:resnet34": "keras-cv's ResNet-34; 512 features",
    "keras_cv:resnet50": "keras-cv's ResNet-50; 2,048 features",
    "keras_cv:resnet101": "keras-cv's ResNet-101; 2,048 features",
    "keras_cv:resnet152": "keras-cv's ResNet-152; 2,048 features",
    "keras_cv:resnet18_v2": "keras-cv's ResNet-18 V2; 512 features",
    "keras_cv:resnet34_v2": "keras-cv's ResNet-34 V2; 512 features",
    "keras_cv:resnet50_v2": "keras-cv's ResNet-50 V2; 2,048 features",
    "keras_cv:resnet101_v2": "keras-cv's ResNet-101 V2; 2,048 features",
    "keras_cv:resnet152_v2": "keras-cv's ResNet-152 V2; 2,048 features",
    "keras_cv:densenet121": "keras-cv's DenseNet-121, sides of 32 on; 1,024 features",
    "keras_cv:densenet169": "keras-cv's DenseNet-169, sides of 32 on; 1,664 features",
    "keras_cv:densenet201": "keras-cv's DenseNet-201, sides of 32 on; 1,920 features",
}
