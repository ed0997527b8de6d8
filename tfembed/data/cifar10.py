"""CIFAR-10: 32x32 colour images of ten kinds of things."""

from tfembed.data.cifar import Edition, find_cifar

__all__ = ["find"]

_EDITION = Edition(
    name="cifar10",
    folders=(
        "cifar-10-batches-py",
        "cifar-10-batches-py-target/cifar-10-batches-py",
        "cifar-10-batches-bin",
    ),
    python_files={
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    },
    binary_files={
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    label_key=b"labels",
    label_bytes=1,
    meta_file="batches.meta",
    meta_key=b"label_names",
    text_file="batches.meta.txt",
)


def find(argument, request):
    """Finds CIFAR-10."""
    return find_cifar(_EDITION, request)
