"""Indexes of FAISS (https://github.com/facebookresearch/faiss)."""

from tfembed.interop.index_files import (
    NeighborIndex,
    check_embeddings,
    chunks,
    read_ids,
    write_index,
)

__all__ = ["read_faiss", "write_faiss"]


def write_faiss(embeddings, ids, path, metric="cosine", factory="Flat"):
    """Writes an index of FAISS, with the id of each row beside it.

    Args:
        embeddings: Float array `[n, d]`, in memory or mapped from a file.
        ids: Strings `[n]`, each once.
        path: The file; the ids go to `path` with `.ids.npz` appended.
        metric: `"cosine"`, for which rows are divided by their norms, or
            `"euclidean"`.
        factory: What `faiss.index_factory` makes: `"Flat"` is exact, `"HNSW32"` or
            `"IVF1024,PQ16"` are approximate. One that has to be trained is trained on
            these rows.

    Raises:
        ValueError: If an argument is wrong.
        OSError: If it cannot be written.
        ImportError: If FAISS is missing.
    """
    faiss = _faiss()
    ids = check_embeddings(embeddings, ids, metric)
    dim = embeddings.shape[1]
    inner = metric == "cosine"
    kind = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    try:
        index = faiss.index_factory(dim, factory, kind)
    except RuntimeError as error:
        words = str(error).strip().splitlines()[-1]
        raise ValueError(
            "`factory` must be a description that faiss.index_factory knows, such as "
            f"'Flat' or 'HNSW32'. Received: factory={factory!r}: {words}"
        ) from error
    for start, rows in chunks(embeddings, metric):
        if not start and not index.is_trained:
            index.train(rows)
        index.add(rows)
    with write_index(path, ids, metric, dim) as partial:
        faiss.write_index(index, partial)


def read_faiss(path):
    """Reads what `write_faiss` wrote.

    Args:
        path: The index.

    Returns:
        A `NeighborIndex`, whose `search(queries, k)` answers with ids.

    Raises:
        ValueError: If there is no index with its ids at `path`.
        ImportError: If FAISS is missing.
    """
    faiss = _faiss()
    ids, metric, dim = read_ids(path)
    index = faiss.read_index(str(path))

    def search(queries, k):
        scores, rows = index.search(queries, k)
        if metric == "euclidean":  # it gives squares
            scores = -(scores.clip(min=0) ** 0.5)
        return rows, scores

    return NeighborIndex(index, search, ids, metric, dim)


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            f"An index of FAISS needs a package that is missing ({error}). Install it "
            "with `pip install 'tfembed[faiss]'`."
        ) from error
    return faiss
