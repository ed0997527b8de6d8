"""Flags of fine-tuning: what each does in a run, and that a resume ends the same."""

import dataclasses
import json

import numpy as np
import pytest
from small_runs import run_quietly
from tensorflow import keras

from tfembed import compat
from tfembed.backbones import build_backbone
from tfembed.recipes import fine_tuning, supervised

SMALL = {
    "dataset": "synthetic",
    "limit": 64,
    "test_limit": 20,
    "image_size": 16,
    "epochs": 3,
    "batch_size": 16,
    "samples_per_class": 4,
    "dim": 8,
    "linear_probe": False,
    "nmi": False,
}
FLAGS = {
    "pool": "gem",
    "backbone_rate": 0.5,
    "layer_decay": 0.8,
    "freeze_epochs": 1,
    "ema": 0.5,
    "keep": "best",
    "monitor": "loss",
}


def test_the_defaults_hang_on_the_weights():
    config = supervised.Config()
    assert fine_tuning.backbone_rate(config) == 1.0
    assert not fine_tuning.freezes_batch_norm(config)
    given = dataclasses.replace(config, weights="imagenet")
    assert fine_tuning.backbone_rate(given) == 0.1
    assert fine_tuning.freezes_batch_norm(given)
    own = dataclasses.replace(given, backbone_rate=0.3, frozen_batch_norm=False)
    assert fine_tuning.backbone_rate(own) == 0.3
    assert not fine_tuning.freezes_batch_norm(own)


def test_a_layer_is_a_kernel_with_its_norm():
    backbone = build_backbone("small_conv", (16, 16, 1), pool="gem")
    depths = list(fine_tuning.by_depth(backbone))
    assert [len(weights) for weights in depths] == [3, 3, 3, 3]
    assert sum(map(len, depths)) == len(backbone.trainable_weights) - 1  # GeM's power


def test_rates_fall_towards_the_images():
    backbone = build_backbone("small_conv", (16, 16, 1))
    config = supervised.Config(backbone_rate=0.5, layer_decay=0.5, freeze_epochs=2)
    found = []

    def with_groups(optimizer, groups):
        found.extend((multiple, first) for _, multiple, first in groups)
        return optimizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfembed.training.with_groups", with_groups)
        fine_tuning.with_backbone_rates(keras.optimizers.SGD(), config, backbone, 7)
    assert found == [(0.0625, 14), (0.125, 14), (0.25, 14), (0.5, 14)]


def encoder_of(run_dir):
    import tfembed

    model = tfembed.load_model(run_dir / "model.keras", compile=False)
    return model, model.get_weights()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("tuned") / "run"
    return run_dir, run_quietly(supervised, run_dir, SMALL, **FLAGS)


def test_a_run_says_which_epoch_it_kept(finished):
    run_dir, result = finished
    best = json.loads((run_dir / "best" / "best.json").read_text())
    assert result["kept_epoch"] == best["epoch"]
    assert result["kept_by"] == f"loss {best['value']:.4f}"
    rows = (run_dir / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("loss")
    losses = [float(row.split(",")[column]) for row in rows[1:]]
    assert best["epoch"] == 1 + int(np.argmin(losses))
    kinds = [type(layer).__name__ for layer in _flat(encoder_of(run_dir)[0])]
    assert "GeneralizedMean" in kinds


def _flat(model):
    for layer in model.layers:
        yield from _flat(layer) if hasattr(layer, "layers") else [layer]


def test_stopped_and_started_again_ends_the_same(finished, tmp_path, monkeypatch):
    from tfembed.callbacks import Backup

    class Killed(BaseException):
        pass

    whole, seen = Backup.on_epoch_end, []

    def killed(self, epoch, logs=None):
        whole(self, epoch, logs)
        seen.append(epoch)
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Backup, "on_epoch_end", killed)
        run_quietly(supervised, tmp_path / "run", SMALL, **FLAGS)
    assert seen == [0, 1]
    result = run_quietly(supervised, tmp_path / "run", SMALL, **FLAGS)
    assert result["table"] == finished[1]["table"]
    for one, two in zip(encoder_of(finished[0])[1], encoder_of(tmp_path / "run")[1]):
        np.testing.assert_array_equal(one, two)


def test_a_frozen_backbone_stays_and_patience_stops(tmp_path):
    run_dir = tmp_path / "run"
    flags = {"freeze_epochs": 3, "weight_decay": 0.1, "optimizer": "adamw"}
    flags |= {"keep": "best", "monitor": "loss", "patience": 1, "epochs": 3}
    flags |= {"learning_rate": 1e-9, "frozen_batch_norm": True}
    run_quietly(supervised, run_dir, SMALL, **flags)
    backbone = build_backbone("small_conv", (16, 16, 1), seed=0)
    first = {w.shape: w for w in backbone.get_weights() if w.ndim == 4}
    kernels = [w for w in encoder_of(run_dir)[1] if w.ndim == 4]
    assert len(kernels) == 4
    for kernel in kernels:
        np.testing.assert_array_equal(kernel, first[kernel.shape])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"keep": "best"}, "never uses test images. Received: 'synthetic'"),
        ({"patience": 3}, "--patience goes with --keep best"),
        ({"monitor": "loss"}, "--monitor goes with --keep best"),
        ({"optimizer": "sgdw", "freeze_epochs": 1}, "go with Keras' optimizers"),
        ({"pool": "median"}, "choose from"),
        ({"layer_decay": 0.0}, "`layer_decay` must be above 0"),
        ({"ema": 1.0}, "`ema` must be at least 0"),
    ],
)
def test_refused(flags, message, tmp_path, capsys):
    if flags.get("optimizer") == "sgdw" and compat.KERAS_3:
        pytest.skip("tensorflow-addons is of the other stack")
    with pytest.raises(SystemExit) as error:
        run_quietly(supervised, tmp_path / "run", SMALL, **flags)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
