"""Indexes of NMSLIB (https://github.com/nmslib/nmslib), as TF Similarity uses them."""

import numpy as np

from tfembed.interop.index_files import (
    NeighborIndex,
    check_embeddings,
    chunks,
    read_ids,
    write_index,
)

__all__ = ["read_nmslib", "write_nmslib"]

_SPACES = {"cosine": "cosinesimil", "euclidean": "l2"}
# The index itself, and the rows that it was made of.
_ENDINGS = ("", ".dat")


def write_nmslib(
    embeddings, ids, path, metric="cosine", links=16, construction=200, threads=0
):
    """Writes an index of NMSLIB, a graph (HNSW), with the id of each row beside it.

    Args:
        embeddings: Float array `[n, d]`.
        ids: Strings `[n]`, each once.
        path: The file; NMSLIB puts the rows to `path` with `.dat` appended, and the ids
            go to `path` with `.ids.npz` appended.
        metric: `"cosine"` or `"euclidean"`.
        links: Neighbours of each row in the graph (NMSLIB's `M`). More find more.
        construction: Candidates looked at while the graph is built
            (`efConstruction`). More find more.
        threads: Threads that build it; 0 for as many as there are cores.

    Raises:
        ValueError: If an argument is wrong.
        OSError: If it cannot be written.
        ImportError: If NMSLIB is missing.
    """
    nmslib = _nmslib()
    ids = check_embeddings(embeddings, ids, metric)
    index = _empty(nmslib, metric)
    for start, rows in chunks(embeddings, metric):
        index.addDataPointBatch(rows, np.arange(start, start + len(rows), dtype="i4"))
    settings = {"M": links, "efConstruction": construction, "post": 2}
    if threads:
        settings["indexThreadQty"] = threads
    index.createIndex(settings, print_progress=False)
    with write_index(path, ids, metric, embeddings.shape[1], _ENDINGS) as partial:
        index.saveIndex(partial, save_data=True)


def read_nmslib(path, candidates=200):
    """Reads what `write_nmslib` wrote.

    Args:
        path: The index.
        candidates: How many rows a search looks at (`efSearch`). More find more.

    Returns:
        A `NeighborIndex`, whose `search(queries, k)` answers with ids.

    Raises:
        ValueError: If there is no index with its ids at `path`.
        ImportError: If NMSLIB is missing.
    """
    nmslib = _nmslib()
    ids, metric, dim = read_ids(path, _ENDINGS)
    index = _empty(nmslib, metric)
    index.loadIndex(str(path), load_data=True)

    def search(queries, k):
        index.setQueryTimeParams({"efSearch": max(candidates, k)})
        rows = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for row, (found, distances) in enumerate(index.knnQueryBatch(queries, k=k)):
            rows[row, : len(found)] = found
            scores[row, : len(found)] = _scores(distances, metric)
        return rows, scores

    return NeighborIndex(index, search, ids, metric, dim)


def _scores(distances, metric):
    if metric == "cosine":
        return 1.0 - distances
    return -np.sqrt(np.maximum(distances, 0.0))  # its l2 is not rooted


def _empty(nmslib, metric):
    return nmslib.init(
        method="hnsw", space=_SPACES[metric], data_type=nmslib.DataType.DENSE_VECTOR
    )


def _nmslib():
    try:
        import nmslib
    except ImportError as error:
        raise ImportError(
            f"An index of NMSLIB needs a package that is missing ({error}). Install it "
            "with `pip install 'tfembed[similarity]'`, which brings it along."
        ) from error
    return nmslib
