"""The tutorial is run: each of its commands and blocks, as it stands, as a notebook.

What a reader has in the folder is small here: pictures drawn by a program in the place
of photos, and a MobileNetV2 of drawn weights in the place of ImageNet's. Nothing else
is changed. It serves at the ports that it names, so that one run waits for another.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import signal
import socket
import sys
import tempfile
import time

import numpy as np
import pytest
from PIL import Image
from shared import loaded
from test_docs import blocks

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
CLASSES = ("hat", "shoes", "skirt")
PORTS = (8500, 8501)
ADDED_BLOCKS = (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)  # of MobileNetV2
SECONDS = 600  # for one block, on a busy machine


def writer():
    return loaded("docs/write_tutorial.py")


def test_the_notebook_is_the_page():
    written = NOTEBOOK.read_text(encoding="utf-8")
    made = writer().notebook(PAGE.read_text(encoding="utf-8"))
    assert written == made, "run python docs/write_tutorial.py"


def test_the_notebook_has_every_block_of_the_page_and_no_other():
    import nbformat

    told = [
        (block.language, block.text.strip())
        for block in blocks(PAGE.read_text(encoding="utf-8"))
        if block.language != "text"
    ]
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    found = [
        ("bash", cell.removeprefix("%%bash\n"))
        if cell.startswith("%%bash\n")
        else ("python", cell)
        for cell in cells
    ]
    assert found == told and len(told) > 15
    assert {language for language, _ in told} == {"bash", "python"}


def draw_picture(rng, number):
    """Returns a picture of stripes, of the width of its class, in two colours."""
    height, width = rng.integers(48, 80, 2)
    y, x = np.mgrid[:height, :width] / max(height, width)
    turn = rng.uniform(0, np.pi)
    wave = np.sin(2 * np.pi * 4 * 2**number * (x * np.cos(turn) + y * np.sin(turn)))
    colours = rng.uniform(0, 255, (2, 3))
    pixels = (
        np.where(wave[..., None] > 0, *colours)
        + rng.normal(0, 10, wave.shape)[..., None]
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_pictures(folder):
    """Writes photos/CLASS, with one picture twice, new/CLASS, and asked."""
    rng = np.random.default_rng(0)
    for place, count in (("photos", 14), ("new", 3), ("asked", 1)):
        for number, name in enumerate(CLASSES[: 2 if place == "new" else 3]):
            below = folder / place / (name if place != "asked" else "")
            below.mkdir(parents=True, exist_ok=True)
            for each in range(count):
                path = below / f"{place}-{name}-{each}.png"
                draw_picture(rng, number).save(path)
    first = folder / "photos" / "hat" / "photos-hat-0.png"
    first.with_name("z-again.png").write_bytes(first.read_bytes())


def write_weights(path, images):
    """Writes a MobileNetV2 as torchvision does, that tells pictures apart.

    Drawn weights give all pictures one embedding, nearly. So the means and variances of
    the batch norms are those of `images`, and the last one lets little pass. Blocks
    that are added to what they got add little, as a deep network of drawn weights makes
    much of each rounding.
    """
    from backbones.test_torchvision import recorded
    from backbones.torch_writer import write_zip
    from peers.torch_weights import draw_state
    from tensorflow import keras

    from tfembed.backbones import build_backbone
    from tfembed.backbones.mobilenet_v2 import torch_name

    seed, shapes, _ = recorded("mobilenet_v2")
    state = draw_state(shapes, seed)
    for number in ADDED_BLOCKS:
        for name in ("weight", "bias"):
            state[f"features.{number}.conv.3.{name}"] *= np.float32(0.05)
    write_zip(path, state)
    model = build_backbone("torchvision:mobilenet_v2", images.shape[1:], weights=path)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.trainable = 0.0, True
    model(images, training=True)  # the means and variances of this batch are kept
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = layer.get_weights()[2:]
            name = torch_name(layer.name)
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = mean, variance
    before = keras.Model(model.inputs, model.get_layer("features_18_0").output)
    pooled = before(images, training=False).numpy().mean((1, 2))
    state["features.18.1.running_mean"] = pooled.mean(0)
    state["features.18.1.running_var"] = (2 * pooled.std(0)) ** 2
    state["features.18.1.weight"] = np.ones(1280, np.float32)
    state["features.18.1.bias"] = np.full(1280, -2, np.float32)
    write_zip(path, state)


@contextlib.contextmanager
def the_ports():
    """Holds the ports that the tutorial names, once no other run of it does."""
    with open(
        os.path.join(tempfile.gettempdir(), "tfembed-tutorial.lock"), "w"
    ) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        deadline = time.monotonic() + SECONDS
        while not are_free():
            if time.monotonic() > deadline:
                pytest.fail(f"another program has the tutorial's ports, {PORTS}")
            time.sleep(1)
        yield


def are_free():
    """Tells whether nobody listens at the ports."""
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def execute(folder):
    """Runs the notebook in a folder; returns `[(source, its standard output)]`."""
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells, before = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            before = cell.source
        elif not re.search(r"<!-- needs: [\w -]+ -->$", before):
            cells.append(cell)
    notebook.cells = cells
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    try:
        client.execute(cwd=str(folder))
    finally:
        nbformat.write(notebook, folder.parent / "executed.ipynb")
    return [(cell.source, standard_output(cell)) for cell in cells]


def standard_output(cell):
    named = [each for each in cell.outputs if each.get("name") == "stdout"]
    return "".join(each.text for each in named)


def answers(printed):
    """Returns `{query: [vote, ..., nearest id]}` of what the query command printed."""
    lines = [line.split() for line in printed.splitlines()]
    return {words[0]: words for words in lines if words and words[0].endswith(".png")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the tutorial asks the reader to have; commands are this environment's."""
    work = tmp_path / "work"
    write_pictures(work)
    some = sorted((work / "photos").glob("*/*.png"))[::2]
    images = [np.asarray(Image.open(path).resize((224, 224))) for path in some]
    weights = work / "mobilenet_v2-b0353104.pth"
    write_weights(weights, np.stack(images).astype(np.float32))
    monkeypatch.setenv("PATH", str(pathlib.Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with the_ports():
        yield work
        pid = work / "server.pid"
        if pid.exists() and not are_free():  # a block before the last one failed
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_every_block_runs(folder):
    """And says what the page says: the copy found, five versions, who is nearest."""
    said = execute(folder)

    def printed(words):
        (found,) = (text for source, text in said if words in source)
        return found

    assert {path.name for path in (folder / "set-aside").rglob("*.png")} == {
        "z-again.png"
    }
    assert printed("csv.DictReader").startswith("hat/z-again.png 1.0")
    pretrained = answers(printed("--picture answer.png"))
    assert set(pretrained) == {f"asked-{name}-0.png" for name in CLASSES}
    assert Image.open(folder / "answer.png").width > 300
    assert "queries, a gallery of" in printed("tfembed.evaluate torchvision")
    assert "trained encoder" in printed("tfembed.recipes.supervised")
    assert (folder / "runs" / "photos" / "report.html").stat().st_size > 10_000
    compared = printed("--compare torchvision")
    assert "compared with torchvision:mobilenet_v2 on folder:photos" in compared
    tuned = answers(printed("--version 2"))
    python = [line.split() for line in printed("Client(").splitlines()]
    assert {words[0].rpartition("/")[2]: words[-1] for words in python} == {
        name: words[-1] for name, words in tuned.items()
    }
    listed = [line.split() for line in printed("export list").splitlines()]
    rows = [(words[0], words[2]) for words in listed if words[0].isdigit()]
    assert rows == [("1", "42"), ("2", "42"), ("3", "48"), ("4", "45"), ("5", "48")]
    assert "rollback from 4 to 3" in printed("export list")
    assert answers(printed("--version 5")) == answers(printed("--version 3"))
    deadline = time.monotonic() + 60
    while not are_free() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert are_free(), "the last block must stop the server"
