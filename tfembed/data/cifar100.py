"""CIFAR-100: 32x32 colour images of a hundred kinds of things (the fine labels)."""

from tfembed.data.cifar import Edition, find_cifar

__all__ = ["find"]

_EDITION = Edition(
    name="cifar100",
    folders=(
        "cifar-100-python",
        "cifar-100-python-target/cifar-100-python",
        "cifar-100-binary",
    ),
    python_files={"train": ("train",), "test": ("test",)},
    binary_files={"train": ("train.bin",), "test": ("test.bin",)},
    label_key=b"fine_labels",
    label_bytes=2,
    meta_file="meta",
    meta_key=b"fine_label_names",
    text_file="fine_label_names.txt",
)


def find(argument, request):
    """Finds CIFAR-100."""
    return find_cifar(_EDITION, request)
