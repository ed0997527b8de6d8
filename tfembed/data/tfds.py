"""Images of tensorflow-datasets.

`tfds:NAME` takes what `tfds.builder` takes (`cifar10`, `my_data/config:1.0.0`), with
`data_dir` as its folder. Prepared data is read without a network; what is not prepared
is downloaded and prepared the tensorflow-datasets way. The first image feature and the
first class label of the data set are used, the splits `train` and `test`, or
`validation` where there is no `test`.
"""

from tfembed.data.encoded_stream import decode_stream
from tfembed.data.request import Source

__all__ = ["find"]


def find(argument, request):
    """Reads the data set `argument`."""
    builder = _builder(argument, request.data_dir)
    features = builder.info.features
    image_key, label_key = _keys(features, argument)
    shape = _shape(features[image_key], request, argument)
    splits = builder.info.splits
    test = next((name for name in ("test", "validation") if name in splits), None)
    if "train" not in splits:
        raise ValueError(
            "`tfds:NAME` must be a data set with a split `train`. "
            f"Received: {argument!r} with the splits {sorted(splits)}."
        )
    taken = f"the split train to train on, {test} to evaluate on"
    unused = sorted(set(splits) - {"train", test})
    if test is None:
        taken = "the split train to train on"
    if unused:
        taken += f"; not used: {', '.join(unused)}"
    wanted = None
    if request.limit is not None and (test or request.holdout):
        wanted = request.limit + request.holdout

    def read(split, count):
        size = splits[split].num_examples
        size = size if count is None else min(size, count)
        return decode_stream(
            lambda: _stream(builder, f"{split}[:{size}]", image_key, label_key),
            size,
            shape,
            key=f"{builder.info.full_name} {builder.data_dir} {split}[:{size}]",
            strict=request.strict,
            resize=request.resize,
        )

    return Source(
        read("train", wanted),
        read(test, request.test_limit) if test and not request.holdout else None,
        tuple(features[label_key].names) if label_key else None,
        taken=taken,
    )


def _builder(argument, data_dir):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "`tfds:NAME` needs tensorflow-datasets, which could not be imported "
            f"({error}). Install it with `pip install tensorflow-datasets`."
        ) from error
    try:
        builder = tfds.builder(argument, data_dir=data_dir)
        if not builder.info.splits:
            builder.download_and_prepare()
    except Exception as error:  # it lets through whatever its downloads raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            "`tfds:NAME` must be a data set of tensorflow-datasets that is prepared in "
            "`data_dir` or can be downloaded. "
            f"Received: {argument!r} with data_dir={data_dir!r}: {reason}"
        ) from error
    return builder


def _keys(features, argument):
    import tensorflow_datasets as tfds

    def first(kind):
        found = (key for key, one in features.items() if isinstance(one, kind))
        return next(found, None)

    image_key = first(tfds.features.Image)
    if image_key is None or features[image_key].np_dtype != "uint8":
        raise ValueError(
            "`tfds:NAME` must be a data set with a feature of uint8 images. "
            f"Received: {argument!r} with the features {sorted(features.keys())}."
        )
    return image_key, first(tfds.features.ClassLabel)


def _shape(feature, request, argument):
    height, width, channels = feature.shape
    size = request.image_size or (height, width)
    if None in size:
        raise ValueError(
            "`image_size` must be given where images differ in size, as in "
            f"{argument!r}. Received: image_size=None. Give an integer or (height, "
            "width)."
        )
    return (*size, request.channels or (1 if channels == 1 else 3))


def _stream(builder, split, image_key, label_key):
    """Yields `(name, encoded bytes, label or None)` in the order of the data set."""
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={image_key: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    part = split.partition("[")[0]
    for number, example in enumerate(dataset.as_numpy_iterator()):
        label = int(example[label_key]) if label_key else None
        yield f"{builder.name}/{part}/{number:05d}", example[image_key], label
