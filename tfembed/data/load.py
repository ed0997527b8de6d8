"""Images by the name of their source."""

from __future__ import annotations

import numpy as np

from tfembed.data.class_division import SPLITS, divide_classes
from tfembed.data.image_data import ImageData
from tfembed.data.request import Request
from tfembed.data.selection import hold_out_tenth, select_training_rows
from tfembed.data.sources import find_source
from tfembed.hints import PathLike
from tfembed.ops.arguments import as_count, check_choice
from tfembed.ops.resize import check_resize

__all__ = ["load_images"]


def load_images(
    name: str,
    data_dir: PathLike | None = None,
    limit: int | None = None,
    test_limit: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    split: str = "seen",
    holdout: int = 0,
    strict: bool = False,
    seed: int = 0,
    resize: str = "squash",
) -> ImageData:
    """Finds images by the name of their source and chooses which train and evaluate.

    >>> from tfembed.data import load_images
    >>> data = load_images("synthetic", limit=100, test_limit=20)
    >>> data.image_shape, data.train.size, data.test.size
    (..., 100, 20)
    >>> for batch in data.train.batches(50).take(1):
    ...     print(batch["images"].shape[0], batch["ids"].numpy()[:3])
    50 [0 1 2]

    Args:
        name: `fashion_mnist`, `mnist`, `cifar10`, `cifar100`, `folder:PATH`,
            `csv:FILE`, `npz:PATH`, `tfds:NAME` or `synthetic`; `tfembed.data.SOURCES`
            says what each is. A folder's own folders are classes, or parts of it; see
            `tfembed/data/layout.py`; a list's columns, `tfembed/data/image_list.py`.
        data_dir: Folder to look in first, and for `tfds` the folder of prepared data.
        limit: Train on the first so many images only. A folder is sorted by class, so
            there it is a choice that `seed` determines.
        test_limit: Evaluate on the first so many test images only (likewise), and
            choose by so many validation images.
        image_size: `(height, width)`, or an integer for both. `None` keeps the
            images' own, which they must all share.
        channels: 1 or 3; `None` keeps the images' own.
        split: `"seen"`: train and test parts as they are. `"unseen"`: classes are
            halved as in the papers of metric learning, the first half by number to
            train on; of the other half evaluate the images of the test part, or all
            where the source has none. `"given"`: the test part has other classes than
            the train part, which is checked. A validation part keeps the images whose
            classes are not the test images', but for `"seen"`.
        holdout: Evaluate on so many training images that are not trained on, taken
            after the first `limit`, instead of on test images: so settings can be
            chosen without touching test images. With another split than `"seen"`, on
            the images of so many training classes, the last ones.
        strict: Raise when an image does not decode, instead of leaving it out.
        seed: Integer: what is chosen of a folder, what is held out of a source
            without a test part (a tenth, per class where there are classes), and what
            `synthetic` draws.
        resize: How images of other sizes are brought to `image_size`: `"squash"`,
            `"crop"` or `"pad"`; see `tfembed/ops/resize.py`.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: If the source is unknown or cannot be found, an argument is out of
            its range, no image is left, or, with `strict`, one does not decode.
    """
    check_choice(SPLITS, split=split)
    check_choice((None, 1, 3), channels=channels)
    check_resize(resize)
    source_name, find, argument = find_source(name)
    request = Request(
        data_dir=data_dir,
        limit=_count("limit", limit),
        test_limit=_count("test_limit", test_limit),
        image_size=_size(image_size),
        channels=channels,
        split=split,
        holdout=_count("holdout", holdout, least=0) or 0,
        strict=bool(strict),
        seed=seed,
        resize=resize,
    )
    source = find(argument, request)
    train, test, taken = _choose(source, request)
    validation = _choose_validation(source, test, request)
    if source.validation is not None and request.split != "seen":
        count = validation.size if validation is not None else 0
        taken += f"; {count:,} validation images are of other classes than the test's"
    parts = [train, test, validation]
    if request.image_size is None:  # told before all files are decoded
        for part in parts:
            two = part.two_sizes() if hasattr(part, "two_sizes") else None
            if two:
                raise ValueError(_sizes_differ(name, two))
    parts = [part and _checked(part, request, name) for part in parts]
    shape = _target_shape(parts, request, name)
    train, test, validation = (part and part.converted(shape, resize) for part in parts)
    return ImageData(
        name=name,
        image_shape=shape,
        class_names=source.class_names,
        train=train,
        test=test,
        validation=validation,
        taken=taken,
    )


def _choose(source, request):
    if request.split != "seen":
        return *_choose_classes(source, request), source.taken
    train, test, taken = source.train, source.test, source.taken
    if test is None and not request.holdout and train.size > 1:
        rows, held_out = hold_out_tenth(train.size, train.labels, request.seed)
        if len(held_out):  # not where each class has one image
            train, test = train.take(rows), train.take(held_out)
        if test is not None and source.validation is not None:
            taken += "; there is no test part: a tenth of train is held out for it"
    rows, held_out = select_training_rows(
        train.size,
        request.limit,
        request.holdout,
        _seeded_order(train, request) if source.ordered else None,
    )
    if request.holdout:
        test = train.take(held_out)
    train = train.take(rows)
    if test is not None and request.test_limit is not None:
        order = _seeded_order(test, request) if source.ordered else np.arange(test.size)
        test = test.take(np.sort(order[: request.test_limit]))
    return train, test, taken


def _choose_classes(source, request):
    parts = source.train, source.test
    classes, test_classes, pool = divide_classes(
        *(None if part is None else part.labels for part in parts),
        request.split,
        request.holdout,
    )
    train, test = source.train, source.train if pool == "train" else source.test
    train = train.take(np.flatnonzero(np.isin(train.labels, classes)))
    test = test.take(np.flatnonzero(np.isin(test.labels, test_classes)))
    limited = []
    for part, limit in ((train, request.limit), (test, request.test_limit)):
        if limit is not None:
            part = part.take(np.sort(_seeded_order(part, request)[:limit]))
        limited.append(part)
    return limited


def _choose_validation(source, test, request):
    """Returns the validation images, `None` where there are none."""
    part = source.validation
    if part is None:
        return None
    if request.split != "seen":  # the test classes are for the result alone
        part = part.take(np.flatnonzero(~np.isin(part.labels, test.labels)))
    if request.test_limit is not None:
        order = _seeded_order(part, request) if source.ordered else np.arange(part.size)
        part = part.take(np.sort(order[: request.test_limit]))
    return part if part.size else None


def _seeded_order(split, request):
    return np.random.default_rng([request.seed, 1]).permutation(split.size)


def _checked(split, request, name):
    if hasattr(split, "checked"):
        split = split.checked(request)
    if split.size == 0:
        raise ValueError(
            "`name` must be a source with images. "
            f"Received: name={name!r}, which has none that decode"
            + (f"; the first: {split.skipped[0]}" if split.skipped else "")
            + "."
        )
    return split


def _target_shape(parts, request, name):
    shapes = [split.image_shape for split in parts if split is not None]
    sizes = {shape[:2] for shape in shapes}
    size = request.image_size or sizes.pop()
    if request.image_size is None and (sizes or size == (None, None)):
        raise ValueError(_sizes_differ(name))
    return (*size, request.channels or max(shape[2] for shape in shapes))


def _sizes_differ(name, two=()):
    shown = ", ".join(f"{image} {size[0]}x{size[1]}" for image, size in two)
    return (
        f"`image_size` must be given where images differ in size, as in {name!r}"
        + (f" ({shown})" if shown else "")
        + ". Received: image_size=None. Give an integer or (height, width)."
    )


def _count(argument, value, least=1):
    return None if value is None else as_count(argument, value, least)


def _size(image_size):
    if image_size is None:
        return None
    try:
        pair = tuple(image_size)
    except TypeError:  # one number, for both
        pair = (image_size,) * 2
    if len(pair) != 2:
        raise ValueError(
            "`image_size` must be an integer or (height, width). "
            f"Received: image_size={image_size!r}."
        )
    return tuple(as_count("image_size", side) for side in pair)
