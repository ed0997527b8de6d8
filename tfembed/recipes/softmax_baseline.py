"""The softmax classifier that a supervised run is measured against.

What a metric loss is worth shows beside a plain classifier: the same encoder with a
dense layer on its embedding, trained by softmax cross-entropy on the same batches, at
the same rate and for as many epochs, and measured as the run is. It is trained after
the run, below its directory in `softmax/`: stopped, it goes on where it was.
"""

from tfembed.recipes.run_directory import cut_log

NAME = "softmax classifier"
FOLDER = "softmax"
ROW = "softmax_baseline.json"


def softmax_row(run):
    """Trains the classifier of a run, or reads what it reached.

    Args:
        run: The `Run`, trained.

    Returns:
        A row of the result's table. `None`, said in a line, where its loss became no
        number: the run's own result does not hang on it.
    """
    done = run.directory.read_json(ROW)
    if done is not None and done["epochs"] == run.config.epochs:
        return done["row"]
    run.say(f"the {NAME} of the same network, {run.config.epochs} epochs:")
    try:
        row = _train(run)
    except ValueError as error:
        run.say(f"the {NAME} has no row: {error}")
        row = None
    if run.chief:
        run.directory.write_json(ROW, {"epochs": run.config.epochs, "row": row})
    return row


def _train(run):
    from tfembed.recipes import training
    from tfembed.training import averaged

    folder = run.directory / FOLDER
    if run.chief:
        folder.mkdir(exist_ok=True)
    beside = training.beside(run, run.recipe.build_classifier, folder)
    if run.chief:
        cut_log(folder / "log.csv", beside.first_epoch)
    beside.fit(beside.first_epoch, run.config.epochs)
    with averaged(beside.networks.model):
        if beside.keeper is not None:
            beside.keeper.restore()
        return beside.judge.row(NAME)


def classifier(built, config, num_classes):
    """Returns the output of a classifier on an encoder, and its loss.

    Args:
        built: The `Encoder` of `build_encoder`.
        config: The run's config.
        num_classes: Number of training classes.
    """
    from tensorflow import keras

    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=config.seed),
        dtype="float32",
        name="classifier",
    )(built.projected)
    return logits, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
