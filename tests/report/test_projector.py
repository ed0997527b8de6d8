"""The projector's files, read back as TensorBoard reads them."""

import json

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing import data_provider, event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import projector_plugin
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from werkzeug.test import Client

from tfembed.report.projector import write_projector
from tfembed.report.run import read_run


@pytest.fixture(scope="module")
def run(make_shared_run):
    run = read_run(make_shared_run("a run"))
    assert write_projector(run) == run.path / "tensorboard" / "projector"
    return run


@pytest.mark.parametrize("place", ["tensorboard", "tensorboard/projector"])
def test_the_config_names_files_that_hold_the_queries(run, place):
    text = (run.path / place / "projector_config.pbtxt").read_text()
    (entry,) = text_format.Parse(text, ProjectorConfig()).embeddings
    folder = run.path / place
    found = np.loadtxt(folder / entry.tensor_path, delimiter="\t")
    np.testing.assert_allclose(found, run.queries.embeddings, rtol=1e-6)
    lines = (folder / entry.metadata_path).read_text().splitlines()
    assert lines[0] == "id\tclass" and len(lines) == 16
    assert lines[3] == "tiny/queries/00002\tBag & co"
    assert list(entry.sprite.single_image_dim) == [8, 8]
    with Image.open(folder / entry.sprite.image_path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (32, 32)  # 15 in rows of 4
    np.testing.assert_array_equal(pixels[8:16, 16:24], run.queries.picture(6)[..., 0])


def test_tensorboard_serves_them(run):
    logs = str(run.path / "tensorboard")
    provider = data_provider.MultiplexerDataProvider(
        event_multiplexer.EventMultiplexer(), logs
    )
    plugin = projector_plugin.ProjectorPlugin(
        base_plugin.TBContext(logdir=logs, data_provider=provider)
    )
    apps = plugin.get_plugin_apps()
    assert json.loads(Client(apps["/runs"]).get("/").data) == ["."]
    config = json.loads(Client(apps["/info"]).get("/?run=.").data)
    (entry,) = config["embeddings"]
    assert entry["tensorShape"] == [15, 6]
    for route in ("/metadata", "/sprite_image", "/tensor"):
        got = Client(apps[route]).get(f"/?run=.&name={entry['tensorName']}&num_rows=9")
        assert got.status_code == 200 and len(got.data) > 100, route


def test_without_thumbnails_there_is_no_sprite(make_run):
    run = read_run(make_run(thumbnails=False))
    folder = write_projector(run)
    assert not (folder / "sprite.png").exists()
    assert "sprite" not in (folder / "projector_config.pbtxt").read_text()


def test_without_embeddings_there_is_nothing(make_run):
    path = make_run()
    (path / "gallery.npz").unlink()
    assert write_projector(read_run(path)) is None
    assert not (path / "tensorboard").exists()
