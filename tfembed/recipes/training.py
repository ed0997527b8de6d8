"""The shape that all recipes share: data, networks, fit, result.

A recipe brings its config, `build` (its networks) and `prepare` (what is done once
before the first epoch); everything else is here, once.
"""

import math
import os
import sys
import tempfile
import time
from pathlib import Path

from tfembed.recipes.run_directory import RunDirectory, is_chief


def main(config, run_dir, recipe, build, prepare):
    """Runs a recipe from its config to its result.

    Args:
        config: The recipe's config.
        run_dir: The run directory, or `None`.
        recipe: The recipe's name.
        build: `build(config, image_shape, size)` returns the model to fit, from
            `{"images", "ids"}`; the encoder; and the model of features and
            embeddings.
        prepare: `prepare(config, networks, data, strategy)`, before epoch 1.

    Returns:
        The content of `result.json`. A user's mistake ends the process with status
        2 and a sentence.
    """
    try:
        chief = is_chief()
        if config.strategy == "multi_worker" and run_dir is None:
            raise ValueError(
                "--strategy multi_worker needs --run-dir, the same folder of a shared "
                "file system on every worker. Received: none."
            )
        directory = RunDirectory(run_dir, recipe, config, chief=chief)
        try:
            return _run(config, directory, build, prepare, chief)
        finally:
            directory.close()
    except (ValueError, TypeError, ImportError) as error:
        if _is_ours(error):
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from error
        raise


def _is_ours(error):
    """Tells a sentence of tfembed's from a failure inside a library."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("tfembed.")


def _run(config, directory, build, prepare, chief):
    if directory.finished:
        result = directory.read_json("result.json")
        _say(f"{directory} is finished; its result:")
        print(table_text(result), flush=True)
        return result
    _say(f"run directory: {directory}")

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings about devices
    import tensorflow as tf
    from tensorflow import keras

    from tfembed import compat
    from tfembed.callbacks import Backup
    from tfembed.data import Augmentation, load_images
    from tfembed.recipes import devices, evaluation

    started = time.perf_counter()
    devices.split_cpu(config.replicas)
    strategy = devices.build_strategy(config.strategy, config.replicas)
    keras.utils.set_random_seed(config.seed)

    data = load_images(
        config.dataset,
        data_dir=config.data_dir,
        limit=config.limit,
        test_limit=config.test_limit,
        image_size=config.image_size,
        holdout=config.holdout,
        strict=config.strict,
        seed=config.seed,
    )
    shape = tuple(data.image_shape)
    test = data.test
    _say(
        f"{data.name}: {data.train.size} training images, "
        f"{0 if test is None else test.size} held out, {shape}"
    )
    check_batch(config.batch_size, data.train.size, strategy.num_replicas_in_sync)
    augmentation = Augmentation(  # before any mixed-precision policy
        shape,
        crop_area=(config.crop_min, 1.0),
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
        grayscale=config.grayscale,
        flip=config.flip,
    )
    compat.set_precision(config.precision)
    steps = -(-data.train.size // config.batch_size)
    with strategy.scope():
        networks = build(config, shape, data.train.size)
        model, encoder, features = networks
        model.compile(optimizer=_optimizer(config, steps), jit_compile=False)
        compat.build_optimizer(model.optimizer, model.trainable_variables)

    judge = evaluation.Judge(config, data, encoder, features)
    baselines = directory.read_json("baselines.json")
    if baselines is None:
        baselines = judge.baselines()  # of the network as it is before any training
        if chief:
            directory.write_json("baselines.json", baselines)

    backup = Backup(directory / "backup", chief)
    first_epoch = backup.restore(model)
    if chief:
        directory.cut_log(first_epoch)
    if first_epoch:
        _say(f"going on after epoch {first_epoch} of {config.epochs}")
    else:
        prepare(config, networks, data, strategy)
    if first_epoch < config.epochs:
        batches = data.train.epochs(
            config.batch_size,
            config.seed,
            first_epoch,
            config.epochs,
            augmentation,
            lanes=2,
        )
        history = model.fit(
            batches.prefetch(tf.data.AUTOTUNE),
            epochs=config.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps,
            callbacks=_callbacks(config, directory, data, model, judge, backup, chief),
            verbose=(1 if sys.stdout.isatty() else 2) if chief else 0,
        ).history
        if not math.isfinite(history["loss"][-1]):
            raise ValueError(
                f"The loss became {history['loss'][-1]} in epoch "
                f"{first_epoch + len(history['loss'])}; the epoch before it is backed "
                "up. Take a smaller --learning-rate, a larger --temperature, or "
                "--precision float32, in another --run-dir."
            )
    result = judge.result(baselines)
    result["seconds"] = round(time.perf_counter() - started, 1)
    result["seconds_are_of"] = f"epochs {first_epoch + 1} to {config.epochs}"
    if first_epoch >= config.epochs:
        result["seconds_are_of"] = "the evaluation alone"
    with tempfile.TemporaryDirectory() as folder:
        # All workers save, as distributed variables need it; the chief's is kept.
        encoder.save(os.path.join(folder, "model.keras"))
        if not chief:
            return result
        content = Path(folder, "model.keras").read_bytes()
    directory.write_bytes("model.keras", content)
    judge.write_gallery(directory)
    directory.write_json("result.json", result)  # last: now the run is finished
    print(table_text(result), flush=True)
    _say(f"finished: {directory}")
    return result


def check_batch(batch_size, size, replicas):
    """Raises a ValueError for a batch that the replicas cannot share."""
    if batch_size % replicas:
        raise ValueError(
            "`batch_size` is that of all replicas together, and must be a multiple "
            f"of their number. Received: batch_size={batch_size}, "
            f"{replicas} replicas."
        )
    if 0 < size % batch_size < replicas:
        raise ValueError(
            f"The last batch of an epoch would have {size % batch_size} images for "
            f"{replicas} replicas. Choose another --batch-size or --limit. "
            f"Received: batch_size={batch_size}, {size} images."
        )


def _optimizer(config, steps):
    from tfembed.training import build_optimizer, build_schedule

    schedule = build_schedule(
        config.schedule,
        config.learning_rate,
        config.epochs * steps,
        steps,
        config.warmup_epochs * steps,
    )
    return build_optimizer(
        config.optimizer, schedule, config.sgd_momentum, config.weight_decay
    )


def _callbacks(config, directory, data, model, judge, backup, chief):
    from tensorflow import keras

    from tfembed.callbacks import BankWatchdog, Pace

    callbacks = [
        Pace(data.train.size, config.epochs, report=_say if chief else lambda _: None),
        keras.callbacks.TerminateOnNaN(),
    ]
    endpoint = model.get_layer("endpoint")
    if hasattr(endpoint, "bank"):
        callbacks.append(BankWatchdog(endpoint))
    callbacks.append(_endpoint_state(endpoint))
    if judge.labelled:
        callbacks.append(judge.callback())
    if chief:
        folder = str(directory / "tensorboard")
        callbacks += [
            _csv_log(directory / "log.csv"),
            keras.callbacks.TensorBoard(folder, write_graph=False, profile_batch=0),
        ]
    return [*callbacks, backup]  # last: what it holds has been logged


def _csv_log(path):
    """Keras' CSV log, without the empty `val_` columns that it would add."""
    from tensorflow import keras

    class EpochLog(keras.callbacks.CSVLogger):
        def on_epoch_end(self, epoch, logs=None):
            if self.keys is None:
                self.keys = sorted(logs)
            super().on_epoch_end(epoch, logs)

    return EpochLog(str(path), append=True)


def _endpoint_state(endpoint):
    """Logs NCE's normaliser and noise posterior, and the learning rate."""
    from tensorflow import keras

    from tfembed import compat

    class EndpointState(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            optimizer = self.model.optimizer
            rate = optimizer.learning_rate
            if callable(rate):
                rate = rate(optimizer.iterations)
            logs["learning_rate"] = compat.number(rate)
            if getattr(endpoint, "objective", None) == "nce":
                logs["normalizer"] = endpoint.normalizer
                logs["noise_posterior"] = endpoint.noise_posterior

    return EndpointState()


def table_text(result):
    """Formats a result's table for a terminal."""
    rows = result["table"]
    if not rows:
        return "no labels: nothing to measure against"
    columns = [key for key in rows[0] if key != "representation"]
    width = max(len(row["representation"]) for row in rows)
    lines = [
        " " * width + "".join(f"{column.replace('_', ' '):>14}" for column in columns)
    ]
    for row in rows:
        cells = (
            f"{'-' if row[column] is None else format(row[column], '.4f'):>14}"
            for column in columns
        )
        lines.append(f"{row['representation']:<{width}}" + "".join(cells))
    return "\n".join(lines)


def _say(line):
    print(line, file=sys.stderr, flush=True)
