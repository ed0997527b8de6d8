"""VICReg: the views in two lists, NumPy's variances and covariances."""

import functools

import numpy as np
from loss_sample import Sample

from tfembed import losses


def oracle(invariance=25.0, variance=25.0, covariance=1.0, target=1.0, epsilon=1e-4):
    def loss(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x, labels = np.float64(embeddings), list(labels)
        first, second = [], []
        for image in set(labels):
            where = [i for i, label in enumerate(labels) if label == image]
            if len(where) > 1:
                first.append(x[where[0]])
                second.append(x[where[1]])
        if not first:
            return np.zeros(len(x))
        total = invariance * np.mean((np.array(first) - np.array(second)) ** 2)
        for view in (np.array(first), np.array(second)):
            if len(view) == 1:
                continue
            deviations = np.sqrt(np.var(view, axis=0, ddof=1) + epsilon)
            total += variance * np.mean(np.maximum(target - deviations, 0)) / 2
            matrix = np.atleast_2d(np.cov(view, rowvar=False))
            others = matrix[~np.eye(len(matrix), dtype=bool)]
            total += covariance * np.sum(others**2) / len(matrix)
        return np.full(len(x), total)

    return loss


SAMPLES = {
    losses.VICReg: [
        Sample(
            functools.partial(losses.VICReg, **settings),
            oracle(**settings),
            name=name,
            references=False,
            chunks=False,
            in_order=True,
            refused=(
                ({"invariance": -1}, "invariance"),
                ({"target": 0}, "target"),
                ({"epsilon": 0}, "epsilon"),
            ),
            **more,
        )
        for name, settings, more in [
            ("code", {}, {"two_views": True}),
            (
                "weighted",
                {
                    "invariance": 2.0,
                    "variance": 3.5,
                    "covariance": 4.0,
                    "target": 0.6,
                    "epsilon": 0.01,
                },
                {"two_views": True},
            ),
            ("any number of rows", {"covariance": 5.0}, {}),
        ]
    ]
}
