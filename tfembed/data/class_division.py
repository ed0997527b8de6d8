"""Which classes are trained on, and which are evaluated on."""

import numpy as np

__all__ = ["SPLITS", "divide_classes"]

SPLITS = ("seen", "unseen", "given")


def divide_classes(labels, test_labels, split, holdout):
    """Divides classes into those to train on and those to evaluate on.

    Args:
        labels: int64 labels of the train part, or `None`.
        test_labels: Of the test part, or `None`.
        split: `"unseen"`: half of the classes each, the first by number to train on
            (the smaller half, if their number is odd). `"given"`: each part has its
            own.
        holdout: Evaluate on so many of the classes to train on instead, the last ones
            by number.

    Returns:
        `(classes, test_classes, pool)`: arrays without a class in common, and which
        part the test images are taken from, `"train"` or `"test"`.

    Raises:
        ValueError: If there are no labels, a class too few, or, with `"given"`, the
            parts have classes in common.
    """
    if labels is None or (split == "given" and test_labels is None):
        raise ValueError(
            "Training on some classes and measuring on others needs a label for each "
            "image"
            + (", and a test part" if split == "given" else "")
            + ". Received: none. Name a source with labels (a folder with one folder "
            "a class), or measure on the classes that are trained on."
        )
    classes = np.unique(labels)
    if split == "given":
        test_classes, pool = np.unique(test_labels), "test"
        common = np.intersect1d(classes, test_classes)
        if len(common):
            raise ValueError(
                "split='given' needs a test part with classes of its own. Received: "
                f"{len(common)} classes in both parts. Take split='unseen', which "
                "halves the classes, or split='seen'."
            )
    else:
        pool = "train" if test_labels is None else "test"
        if test_labels is not None:
            classes = np.union1d(classes, test_labels)
        classes, test_classes = np.split(classes, [len(classes) // 2])
    if holdout:
        if holdout >= len(classes):
            raise ValueError(
                "`holdout` must leave a class to train on. Received: "
                f"holdout={holdout}, of {len(classes)} classes to train on."
            )
        classes, test_classes = np.split(classes, [len(classes) - holdout])
        pool = "train"
    if not len(classes) or not len(test_classes):
        raise ValueError(
            "Training on some classes and measuring on others needs two classes or "
            f"more. Received: {len(classes) + len(test_classes)}. Name a source with "
            "more (a folder with one folder a class)."
        )
    return classes, test_classes, pool
