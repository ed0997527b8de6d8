"""The shape that all recipes share: data, networks, fit, result."""

import dataclasses
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tfembed.command_line import stopped_by_hand
from tfembed.formats.disk import FullDiskError, full_disk, is_full_disk
from tfembed.quiet_imports import quiet_start
from tfembed.recipes.run_directory import RunDirectory, cut_log, is_chief
from tfembed.registry import find_named

SAMPLE = 256


def main(recipe, config, run_dir):
    """Runs a recipe from its config to its result.

    Args:
        recipe: A `Recipe`.
        config: Its config.
        run_dir: The run directory, or `None`.

    Returns:
        The content of `result.json`. A user's mistake, or a full disk, ends the
        process with status 2 and a sentence, Ctrl-C with status 130.
    """
    with stopped_by_hand("the same command goes on from here" if run_dir else ""):
        return _main(recipe, config, run_dir)


def _main(recipe, config, run_dir):
    quiet_start()
    try:
        chief = is_chief()
        if config.strategy == "multi_worker" and run_dir is None:
            raise ValueError(
                "--strategy multi_worker needs --run-dir, the same folder of a shared "
                "file system on every worker. Received: none."
            )
        directory = RunDirectory(run_dir, recipe.name, config, chief=chief)
        try:
            return _run(recipe, config, directory, chief)
        finally:
            directory.close()
    except Exception as error:
        sentence = _sentence(error, run_dir or "runs")
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        raise SystemExit(2) from error


def _sentence(error, path):
    """Returns the sentence that a user is shown; `None` for a failure of ours."""
    if isinstance(error, FullDiskError):
        return error.strerror
    if is_full_disk(error):
        return full_disk(path, error).strerror
    if isinstance(error, (ValueError, TypeError, ImportError)) and _is_ours(error):
        return str(error)
    return None


def _is_ours(error):
    """Tells a sentence of tfembed's from a failure inside a library."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("tfembed.")


@dataclasses.dataclass
class Run:
    """A run in progress.

    Attributes:
        recipe: The `Recipe`.
        config: Its config.
        directory: The `RunDirectory`.
        chief: Whether this process writes to it.
        data: The `ImageData`.
        strategy: The `tf.distribute.Strategy`.
        augmentation: Function of training images and a seed, an `Augmentation` but
            where the user has one.
        networks: The `Networks`.
        judge: What measures the encoder.
        backup: The `Backup` of model and optimizer.
        keeper: What keeps the best epoch, a `KeepBest`, or `None`.
        known_images: Names and digests of the images, for `data.npz`.
        own_callbacks: The user's Keras callbacks.
        first_epoch: Epochs that were done before, by a run that was stopped.
    """

    recipe: Any
    config: Any
    directory: Any
    chief: bool
    data: Any
    strategy: Any
    augmentation: Any
    networks: Any
    judge: Any
    backup: Any
    known_images: Any
    keeper: Any = None
    own_callbacks: Any = ()
    first_epoch: int = 0

    @property
    def steps(self):
        """Batches in an epoch."""
        return self.recipe.steps(self.config, self.data)

    def say(self, line):
        """Prints a line of progress, on one worker only."""
        if self.chief:
            say(line)

    def fit(self, first_epoch, last_epoch):
        """Trains from `first_epoch`, counted from 0, to before `last_epoch`.

        Raises:
            ValueError: If the loss is not finite any more.
        """
        import tensorflow as tf

        done = self.keeper is not None and self.keeper.exhausted(first_epoch)
        if first_epoch >= last_epoch or done:
            return
        batches = self.recipe.batches(self, first_epoch, last_epoch)
        history = self.networks.model.fit(
            batches.prefetch(tf.data.AUTOTUNE),
            epochs=last_epoch,
            initial_epoch=first_epoch,
            steps_per_epoch=self.steps,
            callbacks=_callbacks(self),
            shuffle=False,  # the batches are; Keras 3 would warn of its own default
            verbose=(1 if sys.stdout.isatty() else 2) if self.chief else 0,
        ).history
        if not math.isfinite(history["loss"][-1]):
            raise ValueError(
                f"The loss became {history['loss'][-1]} in epoch "
                f"{first_epoch + len(history['loss'])}; the epoch before it is backed "
                "up. Take a smaller --learning-rate, a larger --temperature, or "
                "--precision float32, in another --run-dir."
            )


def _run(recipe, config, directory, chief):
    if directory.finished:
        result = directory.read_json("result.json")
        say(f"{directory} is finished; its result:")
        print(table_text(result), flush=True)
        return result
    say(f"run directory: {directory}")
    from tfembed.training import averaged

    started = time.perf_counter()
    try:
        run = _start(recipe, config, directory, chief)
    except Exception:
        directory.discard()
        raise
    if chief:
        directory.write_npz("data.npz", **run.known_images)
    baselines = directory.read_json("baselines.json")
    if baselines is None:
        baselines = run.judge.baselines()  # of the network before any training
        if chief:
            directory.write_json("baselines.json", baselines)
    run.first_epoch = run.backup.restore(run.networks.model)
    _go_on_longer(run)
    if chief:
        cut_log(directory / "log.csv", run.first_epoch)
    if run.first_epoch:
        say(f"going on after epoch {run.first_epoch} of {config.epochs}")
    else:
        recipe.prepare(run)
    recipe.train(run)
    trained_beside = [row for row in recipe.trained_beside(run) if row is not None]
    with averaged(run.networks.model):
        return _finish(run, [*baselines, *trained_beside], started)


def _finish(run, baselines, started):
    """Measures and writes what a run leaves, with the weights that it keeps."""
    config, directory, chief = run.config, run.directory, run.chief
    kept = None if run.keeper is None else run.keeper.restore()
    result = run.judge.result(baselines)
    if kept is not None:
        result["kept_epoch"] = kept["epoch"]
        result["kept_by"] = f"{kept['monitor']} {kept['value']:.4f}"
    result["seconds"] = round(time.perf_counter() - started, 1)
    result["seconds_are_of"] = f"epochs {run.first_epoch + 1} to {config.epochs}"
    if run.first_epoch >= config.epochs:
        result["seconds_are_of"] = "the evaluation alone"
    with tempfile.TemporaryDirectory() as folder:
        # All workers save, as distributed variables need it; the chief's is kept.
        run.networks.encoder.save(os.path.join(folder, "model.keras"))
        if not chief:
            return result
        content = Path(folder, "model.keras").read_bytes()
    directory.write_bytes("model.keras", content)
    run.judge.write_embeddings(directory)
    directory.write_json("result.json", result)  # last: now the run is finished
    print(table_text(result), flush=True)
    say(f"finished: {directory}")
    return result


def _go_on_longer(run):
    """Turns a finished run that shall have more epochs into an unfinished one."""
    epochs = run.directory.shorter
    if epochs is None:
        return
    if run.first_epoch < epochs:
        raise ValueError(
            f"A run goes on from its backup, and {str(run.directory)!r} has none of "
            f"its {epochs} epochs. Start another run from its weights: --init "
            f"{run.directory}, with another --run-dir."
        )
    if run.chief:
        run.directory.extend()


def _start(recipe, config, directory, chief):
    """Makes everything that a run trains with; nothing is trained or restored yet."""
    from tensorflow import keras

    from tfembed import compat
    from tfembed.backbones import find_weights
    from tfembed.callbacks import Backup
    from tfembed.recipes import devices, evaluation, initial, known_images, own_parts
    from tfembed.training import begin_averages

    if config.init is not None and not (directory / "backup").exists():
        initial.check_source(config.init)  # before the images are looked into
    devices.split_cpu(config.replicas)
    strategy = devices.build_strategy(config.strategy, config.replicas)
    keras.utils.set_random_seed(config.seed)
    own_callbacks = (
        own_parts.find_callbacks(config.callbacks) if config.callbacks else ()
    )
    if config.augmentation not in (None, own_parts.FAST):
        find_named("augmentation", config.augmentation)  # before the images are read
    data = _load_images(config)
    arrays = known_images.describe(data)
    backup = Backup(directory / "backup", chief)
    begun = backup.newest()[0] > 0 or (directory / "baselines.json").exists()
    if begun and not known_images.check(directory, arrays):
        say(f"{directory} does not say which images it began with: unchecked")
    _say_images(data)
    check_batch(config.batch_size, data.train.size, strategy.num_replicas_in_sync)
    # Before any mixed-precision policy.
    augmentation = _augmentation(config, tuple(data.image_shape))
    weights = find_weights(config.backbone, config.weights, say)
    if weights is not None:
        directory.record_weights(weights.record())
        say(f"weights: {weights.source}, sha256 {weights.sha256[:8]}")
    compat.set_precision(config.precision)
    with strategy.scope():
        networks = compiled(recipe, recipe.build, config, data)
    if config.init is not None and not backup.newest()[0]:
        initial.start_from(networks.encoder, config.init)
        begin_averages(networks.model)
    judge = evaluation.build_judge(config, data, networks)
    return Run(
        recipe=recipe,
        config=config,
        directory=directory,
        chief=chief,
        data=data,
        strategy=strategy,
        augmentation=augmentation,
        networks=networks,
        judge=judge,
        keeper=_keeper(config, directory, networks.encoder, judge, chief),
        own_callbacks=own_callbacks if chief else (),
        known_images=arrays,
        backup=backup,
    )


def _load_images(config):
    """Loads the images that a config names, as `ImageData`."""
    from tfembed.data import load_images

    return load_images(
        config.dataset,
        data_dir=config.data_dir,
        limit=config.limit,
        test_limit=config.test_limit,
        image_size=config.image_size,
        split=config.split,
        holdout=config.holdout,
        strict=config.strict,
        seed=config.seed,
        resize=config.resize,
    )


def _say_images(data):
    """Says what was taken as what, and how much of it there is."""
    if data.taken:
        say(f"{data.name}: {data.taken}")
    validation = ""
    if data.validation is not None:
        validation = f"{data.validation.size} to watch the epochs by, "
    say(
        f"{data.name}: {data.train.size} training images, {validation}"
        f"{0 if data.test is None else data.test.size} held out, "
        f"{tuple(data.image_shape)}"
    )


def beside(run, build, folder):
    """Makes a run of other networks beside a run: same data, settings and budget.

    Args:
        run: The `Run`.
        build: As `Recipe.build`.
        folder: Where its backup and its log are, a `Path`.

    Returns:
        A `Run`, restored as far as it came; it writes no result.
    """
    from tensorflow import keras

    from tfembed.callbacks import Backup
    from tfembed.recipes import evaluation, initial
    from tfembed.training import begin_averages

    config = run.config
    keras.utils.set_random_seed(config.seed)
    with run.strategy.scope():
        networks = compiled(run.recipe, build, config, run.data)
    backup = Backup(folder / "backup", run.chief)
    if config.init is not None and not backup.newest()[0]:
        initial.start_from(networks.encoder, config.init)
        begin_averages(networks.model)
    judge = evaluation.build_judge(config, run.data, networks)
    return dataclasses.replace(
        run,
        directory=folder,
        networks=networks,
        judge=judge,
        keeper=_keeper(config, folder, networks.encoder, judge, run.chief),
        own_callbacks=(),
        backup=backup,
        first_epoch=backup.restore(networks.model),
    )


def compiled(recipe, build, config, data):
    """Returns networks with their optimizer, built; in the strategy's scope."""
    from tfembed import compat
    from tfembed.recipes.fine_tuning import with_backbone_rates

    networks, steps = build(config, data), recipe.steps(config, data)
    optimizer = recipe.optimizer(config, steps)
    networks.model.compile(
        optimizer=with_backbone_rates(optimizer, config, networks.backbone, steps),
        loss=networks.loss,
        jit_compile=False,
    )
    compat.build_optimizer(networks.model.optimizer, networks.model.trainable_variables)
    return networks


def _keeper(config, directory, encoder, judge, chief):
    """Returns the `KeepBest` of a run, `None` if it keeps the last epoch.

    Raises:
        ValueError: If there is nothing to choose by but test images.
    """
    if config.keep == "last":
        return None
    from tfembed.callbacks import KeepBest

    monitor = config.monitor or judge.monitor
    validated = judge.labelled and judge.data.validation is not None
    if monitor != "loss" and not validated:
        raise ValueError(
            "--keep best needs labelled validation images, and never uses test images. "
            f"Received: {config.dataset!r}, which has none. Take a folder with train, "
            "validation and test, or --monitor loss."
        )
    return KeepBest(
        directory / "best",
        encoder,
        monitor,
        mode="min" if monitor == "loss" else "max",
        patience=config.patience,
        chief=chief,
        every=1 if monitor == "loss" else config.knn_every,
    )


def check_batch(batch_size, size, replicas):
    """Raises a ValueError for a batch that the replicas cannot share."""
    if batch_size % replicas:
        raise ValueError(
            "`batch_size` is that of all replicas together, and must be a multiple "
            f"of their number. Received: batch_size={batch_size}, "
            f"{replicas} replicas."
        )
    last = size % batch_size
    share = -(-last // replicas)  # of each replica, until there are no more images
    if last and share * (replicas - 1) >= last:
        raise ValueError(
            f"The last batch of an epoch would have {last} images for {replicas} "
            f"replicas, {share} each, and leave one without any. Choose another "
            f"--batch-size or --limit. Received: batch_size={batch_size}, {size} "
            "images."
        )


def _augmentation(config, shape):
    """Returns the function of images and a seed that `--augmentation` names."""
    from tfembed.data import Augmentation, FastAugmentation
    from tfembed.recipes import own_parts

    if config.augmentation not in (None, own_parts.FAST):
        return own_parts.find_augmentation(config.augmentation, shape)
    kind = Augmentation if config.augmentation is None else FastAugmentation
    names = "brightness contrast saturation hue grayscale flip".split()
    strengths = {name: getattr(config, name) for name in names}
    return kind(shape, crop_area=(config.crop_min, 1.0), **strengths)


def _callbacks(run):
    from tensorflow import keras

    from tfembed.callbacks import CollapseWatchdog, LogValues, Pace, WithAverages
    from tfembed.recipes.augmentation_share import AugmentationShare
    from tfembed.training import averaged

    images = run.recipe.images_in_epoch(run.config, run.data)
    callbacks = [
        Pace(images, run.config.epochs, report=run.say),
        keras.callbacks.TerminateOnNaN(),
        *run.recipe.callbacks(run),
        LogValues(learning_rate=lambda: _learning_rate(run.networks.model.optimizer)),
    ]
    sample, measuring = _sample(run), []
    if len(sample) > 1:
        rank = run.recipe.least_rank(run.config, run.data)
        measuring.append(CollapseWatchdog(run.networks.encoder, sample, min_rank=rank))
    judging = [run.judge.callback()] if run.judge.labelled else []
    measuring += judging
    if run.keeper is not None:
        measuring.append(run.keeper)
    callbacks.append(WithAverages(measuring, averaged))
    if run.chief:
        folder = str(run.directory / "tensorboard")
        callbacks += [
            _csv_log(run.directory / "log.csv", judging),
            keras.callbacks.TensorBoard(folder, write_graph=False, profile_batch=0),
        ]
        if run.config.augmentation is None and run.augmentation.layers:
            images = _images_of_a_step(run)
            callbacks.append(AugmentationShare(run.augmentation, images, run.say))
    callbacks += run.own_callbacks
    return [*callbacks, run.backup]  # last: what it holds has been logged


def _images_of_a_step(run):
    """Returns as many training images as a step augments, all views of them."""
    import numpy as np

    train = run.data.train
    count = run.config.batch_size * run.recipe.views
    rows = np.arange(min(count, train.size))
    return np.resize(train.read(rows), (count, *train.image_shape))


def _sample(run):
    """Returns a few training images, always the same, to watch the embedding by."""
    import numpy as np

    train = run.data.train
    order = np.random.default_rng(run.config.seed).permutation(train.size)
    return train.read(np.sort(order[:SAMPLE]))


def _learning_rate(optimizer):
    from tfembed import compat

    rate = optimizer.learning_rate
    return compat.number(rate(optimizer.iterations) if callable(rate) else rate)


def _csv_log(path, metrics):
    """Keras' CSV log, without the empty `val_` columns that it would add.

    A row has the same numbers wherever its fit began: of `metrics`, a list of
    `EpochMetrics`, NaN where they are not due.
    """
    from tensorflow import keras

    class EpochLog(keras.callbacks.CSVLogger):
        def on_epoch_end(self, epoch, logs=None):
            row = dict(logs)
            for each in metrics:
                for name in each.names():
                    if name not in row or not each.is_due(epoch):
                        row[name] = float("nan")
            if self.keys is None:
                self.keys = sorted(row)
            super().on_epoch_end(epoch, row)

    return EpochLog(str(path), append=True)


def table_text(result):
    """Formats a result's table for a terminal."""
    rows = result["table"]
    if not rows:
        return "no labels: nothing to measure against"
    columns = [key for key in rows[0] if key not in ("representation", "intervals")]
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
    if result.get("lone_images"):
        lines.append(
            "test images alone in their class, and in no mean: "
            f"{result['lone_images']:,}"
        )
    return "\n".join(lines)


def say(line):
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)
