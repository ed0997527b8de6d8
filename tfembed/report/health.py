"""Is the embedding in order: lengths, rank, collapse."""

import numpy as np

from tfembed.metrics import spread

MOST_COSINE = 0.9
LEAST_RANK = 0.05  # of the embedding's length
HUB_K = 10


def health(run):
    """Looks at the embeddings of a run's gallery.

    Args:
        run: A `Run` with a gallery.

    Returns:
        A dictionary: `spread`, a `Spread` or None if there is none; `rows`, of name,
        value and meaning; `warnings`, sentences.
    """
    embeddings = run.gallery.embeddings
    broken = int((~np.isfinite(embeddings)).any(axis=1).sum())
    if run.queries is not None and not broken:
        broken = int((~np.isfinite(run.queries.embeddings)).any(axis=1).sum())
    rows = [("Embeddings", f"{len(embeddings):,} of {embeddings.shape[1]} numbers", "")]
    if broken:
        return {
            "spread": None,
            "rows": rows,
            "warnings": [
                f"{broken:,} embeddings are not finite: training diverged. Nothing can "
                "be looked up. Take a smaller learning rate or a larger temperature."
            ],
        }
    if len(embeddings) < 2:
        return {"spread": None, "rows": rows, "warnings": []}
    found = spread(embeddings)
    dim = embeddings.shape[1]
    return {
        "spread": found,
        "rows": rows + _rows_of_spread(found, dim) + _rows_of_equals(embeddings),
        "warnings": warnings_of(found, dim, _classes(run)),
    }


def _rows_of_spread(found, dim):
    norms = found.norms
    rows = [
        (
            "Length",
            f"{np.median(norms):.3g} ({norms.min():.3g} to {norms.max():.3g})",
            "median, least and largest, as the encoder puts them out",
        ),
        (
            "Mean cosine of two images",
            f"{found.mean_cosine:.3f}",
            "0: in all directions; near 1: collapsed to one",
        ),
        (
            "Effective rank",
            f"{found.effective_rank:.1f} of {dim}",
            "directions that the images spread in, exp of the entropy of the "
            "covariance's eigenvalues",
        ),
    ]
    total = found.spectrum.sum()
    if total > 0:
        held = np.cumsum(found.spectrum) / total
        for share in (0.9, 0.99):
            count = int(np.searchsorted(held, share - 1e-12) + 1)
            rows.append(
                (
                    f"Directions for {100 * share:.0f} % of the variance",
                    f"{min(count, dim)} of {dim}",
                    "",
                )
            )
    return rows


def _rows_of_equals(embeddings):
    if len(embeddings) > 10**5:
        return []
    equal = len(embeddings) - len(np.unique(embeddings, axis=0))
    what = "images that no search can tell apart"
    return [("Equal embeddings", f"{equal:,}", what)] if equal else []


def warnings_of(found, dim, classes=None):
    """Says what is wrong with a `Spread`, in sentences that say what to change.

    Args:
        found: The `Spread`.
        dim: Length of an embedding.
        classes: Number of classes that training told apart by label; an encoder may
            end with one direction less. None where there were none.
    """
    told = []
    zero = int((found.norms < 1e-6).sum())
    if zero:
        told.append(
            f"{zero:,} embeddings are zero and have no direction. See that the images "
            "are not blank, and take a smaller weight decay."
        )
    if found.mean_cosine > MOST_COSINE:
        told.append(
            "The embedding collapsed: the mean cosine of two images is "
            f"{found.mean_cosine:.3f}. Take a smaller learning rate or a longer "
            "warm-up, a batch normalisation without scale and centre before the unit "
            "norm (--head-norm), and a loss whose negatives weigh something."
        )
    least = max(2.0, LEAST_RANK * dim)
    if classes is not None:
        least = min(least, 0.5 * (classes - 1))
    if found.effective_rank < least:
        told.append(
            "The embedding uses few of its directions: its effective rank is "
            f"{found.effective_rank:.1f} of {dim}. Take a batch normalisation without "
            "scale and centre before the unit norm (--head-norm), stronger "
            "augmentation, a smaller weight decay, or a shorter embedding."
        )
    return told


def _classes(run):
    if run.config.get("recipe") != "supervised":
        return None
    labels = run.gallery.labels
    return len(np.unique(labels[labels >= 0])) or None
