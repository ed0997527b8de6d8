"""Runs that begin with given weights: what they say of them, and go on with."""

import json
import sys

import numpy as np
import pytest
from backbones.torch_writer import write_zip
from peers.torch_weights import draw_state
from small_runs import arguments, run_quietly

from tfembed.recipes import config as configs
from tfembed.recipes import supervised

SMALL = {
    "dataset": "synthetic",
    "limit": 32,
    "test_limit": 20,
    "image_size": 16,
    "epochs": 1,
    "batch_size": 16,
    "samples_per_class": 4,
    "dim": 8,
    "backbone": "torchvision:resnet18",
    "linear_probe": False,
}


def state(seed):
    """A state_dict of torchvision's ResNet-18, drawn from a seed."""
    from backbones.test_torchvision import recorded

    return draw_state(recorded("resnet18")[1], seed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that began with a file; the file, and the run directory."""
    folder = tmp_path_factory.mktemp("given")
    path, run_dir = folder / "mine.pth", folder / "run"
    write_zip(path, state(1))
    run_quietly(supervised, run_dir, SMALL, weights=path)
    return path, run_dir


def test_the_config_says_which_weights(finished):
    from tfembed.backbones.download import file_digest

    path, run_dir = finished
    config = json.loads((run_dir / "config.json").read_text())
    assert config["weights"] == str(path)
    assert config["backbone_weights"] == {
        "file": "mine.pth",
        "source": "a given file",
        "sha256": file_digest(path),
        "licence": "as whoever published the file says",
        "checked": "unverified",
    }
    repeated, _ = configs.parse(
        supervised.Config, "supervised", "", ["--config", str(run_dir / "config.json")]
    )
    assert repeated.weights == str(path)


def test_the_card_says_which_weights(finished):
    from tfembed.export.card import render_card
    from tfembed.export.run_directory import read_run
    from tfembed.export.run_facts import facts_of_run

    path, run_dir = finished
    run = read_run(run_dir)
    page = render_card(facts_of_run(run.path.name, run.config, run.result))
    recorded = json.loads((run_dir / "config.json").read_text())["backbone_weights"]
    assert "| weights | mine.pth |" in page
    assert f"| weights sha256 | {recorded['sha256']} |" in page
    assert "| weights source | a given file |" in page
    assert "| weights licence | as whoever published the file says |" in page
    assert "| weights checked | unverified |" in page


def test_the_network_before_training_is_named_after_them(finished):
    rows = json.loads((finished[1] / "result.json").read_text())["table"]
    assert [row["representation"] for row in rows][-2:] == [
        "network of mine.pth",
        "trained encoder",
    ]


def test_the_run_begins_with_them(finished):
    """The baseline is the network before any training, with the file's weights."""
    from tfembed.backbones import build_backbone

    path, _ = finished
    values = state(1)
    model = build_backbone("torchvision:resnet18", (16, 16, 1), weights=path)
    kernel = model.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(
        kernel, np.transpose(values["conv1.weight"], (2, 3, 1, 0))
    )


def test_a_run_does_not_go_on_with_other_weights(finished, tmp_path, capsys):
    path, run_dir = finished
    content, other = (run_dir / "config.json").read_text(), tmp_path / "run"
    other.mkdir()
    record = json.loads(content)
    record["backbone_weights"]["sha256"] = "0" * 64
    (other / "config.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit) as error:
        run_quietly(supervised, other, SMALL, weights=path)
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert "began with other weights, mine.pth of sha256 00000000" in told
    assert "Traceback" not in told


def test_a_users_mistake_is_a_sentence(tmp_path, capsys):
    words = arguments(tmp_path / "run", {**SMALL, "weights": "nowhere.pth"})
    with pytest.raises(SystemExit) as error:
        supervised.main(words)
    assert error.value.code == 2
    assert "'nowhere.pth', which is not a file" in capsys.readouterr().err
    assert "torch" not in sys.modules
