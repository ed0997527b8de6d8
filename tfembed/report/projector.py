"""The files of TensorBoard's embedding projector, beside a run's logs."""

import pathlib

import numpy as np

from tfembed.formats.disk import folder_written_beside, written_beside

FOLDER = "projector"
CONFIG = "projector_config.pbtxt"
MOST_POINTS = 5000
MOST_PIXELS = 8192  # side of the largest sprite that browsers draw
CELL = 64  # longest side of a picture


def write_projector(run, seed=0):
    """Writes `tensorboard/projector/`, and the config that TensorBoard looks for.

    That is `embeddings.tsv`, `metadata.tsv`, `sprite.png` and `projector_config.pbtxt`,
    of the images that the run looks up, or a random sample of them. A second config
    stands in `tensorboard/`, so that `tensorboard --logdir RUN/tensorboard` shows the
    projector beside the curves.

    Args:
        run: A `Run`.
        seed: Of the sample.

    Returns:
        The folder; None where the run has no finite embeddings.
    """
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    from tfembed.report import pictures

    if not run.searchable or not run.judged.size:
        return None
    logs = run.path / "tensorboard"
    folder = logs / FOLDER
    images = run.judged
    rows = np.random.default_rng(seed).permutation(images.size)[:MOST_POINTS]
    rows = np.sort(rows)
    thumbnails = [images.picture(row) for row in rows]
    shapes = [each.shape for each in thumbnails if each is not None]
    cell = None
    if shapes:
        cell = min(CELL, max(max(shape[:2]) for shape in shapes))
        cell = max(1, min(cell, MOST_PIXELS // int(np.ceil(np.sqrt(len(rows))))))
        sheet, _ = pictures.sprite(thumbnails, cell)

    def config(prefix):
        made = ProjectorConfig()
        embedding = made.embeddings.add()
        embedding.tensor_name = run.name
        embedding.tensor_path = f"{prefix}embeddings.tsv"
        embedding.metadata_path = f"{prefix}metadata.tsv"
        if cell is not None:
            embedding.sprite.image_path = f"{prefix}sprite.png"
            embedding.sprite.single_image_dim.extend([cell, cell])
        return str(made)

    with folder_written_beside(folder, shared=True) as beside:
        place = pathlib.Path(beside)
        points = images.embeddings[rows]
        np.savetxt(place / "embeddings.tsv", points, fmt="%.7g", delimiter="\t")
        _write_metadata(place / "metadata.tsv", run, rows)
        if cell is not None:
            sheet.save(place / "sprite.png")
        (place / CONFIG).write_text(config(""), encoding="utf-8")
    with written_beside(logs / CONFIG, shared=True) as beside:
        pathlib.Path(beside).write_text(config(f"{FOLDER}/"), encoding="utf-8")
    return folder


def _write_metadata(path, run, rows):
    """Writes one line an image. With more than one column there is a header."""
    lines = ["id\tclass"]
    for row in rows:
        name = run.class_name(run.judged.labels[row])
        cells = (str(run.judged.ids[row]), name or "unknown")
        lines.append("\t".join(" ".join(cell.split()) for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
