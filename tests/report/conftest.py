"""Small run directories, written by NumPy alone."""

import json

import numpy as np
import pytest

from tfembed.report import figures
from tfembed.report.page import build_page
from tfembed.report.run import read_run, read_runs

CLASSES = ["T-shirt/top", "<b>Boot</b> $x_1$", "Bag & co"]
DIM = 6
TABLE = [
    {"representation": "raw pixels", "knn_10": 0.71, "linear_probe": 0.62},
    {
        "representation": "trained encoder",
        "knn_10": 0.83,
        "linear_probe": 0.61,
        "intervals": {"knn_10": [0.79, 0.87], "linear_probe": [0.58, 0.64]},
    },
]


class RunMaker:
    """Writes run directories below a folder.

    The embeddings of a class lie around one direction, so widely that some nearest
    neighbours are wrong.
    """

    def __init__(self, folder):
        self.folder = folder

    def __call__(
        self,
        name="run",
        gallery=36,
        queries=15,
        seed=0,
        labelled=True,
        thumbnails=True,
        channels=1,
        result=None,
        width=0.55,
        **config,
    ):
        path = self.folder / name
        path.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        self.json(
            path / "config.json",
            {
                "recipe": "instdisc",
                "dataset": "tiny",
                "dim": DIM,
                "epochs": 3,
                **config,
            },
        )
        self.json(
            path / "environment.json",
            {
                "python": "3.11.0",
                "system": "Linux",
                "cpus": 2,
                "versions": {"tfembed": "0.1.0", "tensorflow": "2.15.1"},
                "command": "instdisc.py --dataset tiny",
            },
        )
        parts = {"gallery": gallery, "queries": queries}
        for part, size in parts.items():
            if not size:
                continue
            labels = np.arange(size) % len(CLASSES)
            rows = np.eye(DIM)[labels] + rng.normal(scale=width, size=(size, DIM))
            if part == "gallery" or seed == 0:
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            ids = [f"tiny/{part}/{row:05d}" for row in range(size)]
            extra = {}
            if part == "gallery":
                extra = {
                    "class_names": np.array(CLASSES if labelled else [], np.str_),
                    "vote_temperature": np.float32(0.07),
                    "vote_k": np.int64(size),
                }
            np.savez(
                path / f"{part}.npz",
                embeddings=np.float32(rows),
                labels=labels if labelled else np.full(size, -1),
                ids=np.array(ids),
                **extra,
            )
            if thumbnails:
                images = rng.integers(0, 256, (size, 8, 8, channels), dtype=np.uint8)
                file = "thumbnails" if part == "gallery" else "query_thumbnails"
                np.savez(path / f"{file}.npz", images=images, ids=np.array(ids))
        (path / "log.csv").write_text(
            "epoch,images_per_second,knn_10,learning_rate,loss\n"
            "0,900.5,nan,0.03,3.5\n1,950,0.75,0.02,2.5\n2,970,0.83,0.01,1.5\n"
        )
        content = {
            "dataset": "tiny",
            "protocol": "seen",
            "training_images": gallery,
            "test_images": queries,
            "epochs": 3,
            "seconds": 12.3,
            "seconds_are_of": "epochs 1 to 3",
            "table": TABLE if labelled else [],
            **(result or {}),
        }
        self.json(path / "result.json", content)
        return path

    @staticmethod
    def json(path, content):
        path.write_text(json.dumps(content))

    @staticmethod
    def add_positives(path, gallery=36):
        """Adds what the rounds of an ISL run leave: each image in its own set."""
        (path / "rounds.csv").write_text(
            "round,gan_epochs,positives_per_image,precision,neighbor_precision\n"
            "1,2,0,nan,nan\n2,2,0.5,0.8,0.7\n3,2,1.0,0.75,0.6\n"
        )
        sets = [
            [row, (row + 1) % gallery, (row + 3) % gallery][: 1 + row % 3]
            for row in range(gallery)
        ]
        np.savez(
            path / "positives.npz",
            offsets=np.cumsum([0, *map(len, sets)]),
            indices=np.concatenate(sets).astype(np.int32),
        )


@pytest.fixture
def make_run(tmp_path):
    return RunMaker(tmp_path / "runs")


@pytest.fixture(scope="module")
def make_shared_run(tmp_path_factory):
    return RunMaker(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """A run with everything, and `report.html` in it."""
    make = RunMaker(tmp_path_factory.mktemp("shown"))
    path = make("full", queries=30, width=0.8, temperature=0.1)
    make.add_positives(path)
    run = read_run(path)
    (path / "report.html").write_text(build_page([run]), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """The page of two runs on the same queries."""
    make = RunMaker(tmp_path_factory.mktemp("compared"))
    runs = read_runs(
        [make("one", temperature=0.1), make("two", seed=4, temperature=0.2, margin=3)]
    )
    path = make.folder / "comparison.html"
    path.write_text(build_page(runs, ("pca",)), encoding="utf-8")
    return path


@pytest.fixture
def no_figures(monkeypatch):
    """Draws nothing, for tests of what else is in a page."""
    for name in ("curves", "intervals", "histograms", "spectrum", "scatter"):
        monkeypatch.setattr(
            figures, name, lambda *_, **__: '<svg role="img" aria-label="-"></svg>'
        )
