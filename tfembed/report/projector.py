"""The files of TensorBoard's embedding projector, beside a run's logs."""

import numpy as np

FOLDER = "projector"
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
    folder.mkdir(parents=True, exist_ok=True)
    images = run.judged
    rows = np.random.default_rng(seed).permutation(images.size)[:MOST_POINTS]
    rows = np.sort(rows)
    np.savetxt(
        folder / "embeddings.tsv", images.embeddings[rows], fmt="%.7g", delimiter="\t"
    )
    _write_metadata(folder / "metadata.tsv", run, rows)
    thumbnails = [images.picture(row) for row in rows]
    shapes = [each.shape for each in thumbnails if each is not None]
    cell = None
    if shapes:
        cell = min(CELL, max(max(shape[:2]) for shape in shapes))
        cell = max(1, min(cell, MOST_PIXELS // int(np.ceil(np.sqrt(len(rows))))))
        sheet, _ = pictures.sprite(thumbnails, cell)
        sheet.save(folder / "sprite.png")
    for place, prefix in ((folder, ""), (logs, f"{FOLDER}/")):
        config = ProjectorConfig()
        embedding = config.embeddings.add()
        embedding.tensor_name = run.name
        embedding.tensor_path = f"{prefix}embeddings.tsv"
        embedding.metadata_path = f"{prefix}metadata.tsv"
        if cell is not None:
            embedding.sprite.image_path = f"{prefix}sprite.png"
            embedding.sprite.single_image_dim.extend([cell, cell])
        (place / "projector_config.pbtxt").write_text(str(config), encoding="utf-8")
    return folder


def _write_metadata(path, run, rows):
    """Writes one line an image. With more than one column there is a header."""
    lines = ["id\tclass"]
    for row in rows:
        name = run.class_name(run.judged.labels[row])
        cells = (str(run.judged.ids[row]), name or "unknown")
        lines.append("\t".join(" ".join(cell.split()) for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
