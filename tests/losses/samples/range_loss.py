"""Range loss: all distances within a class sorted, all centres compared."""

import functools

import numpy as np
from loss_oracles import distance, squared, unit
from loss_sample import Sample

from tfembed import losses


def oracle(
    alpha=1.0, beta=1.0, margin=1.0, k=2, squared_distance=False, normalize=False
):
    far = squared if squared_distance else distance

    def losses_of(labels, embeddings, ref_labels=None, ref_embeddings=None):
        x = [unit(row) if normalize else np.float64(row) for row in embeddings]
        within, centers = [], []
        for label in sorted(set(labels)):
            rows = [row for row, other in zip(x, labels) if other == label]
            centers.append(sum(rows) / len(rows))
            pairs = [
                far(a, b) for number, a in enumerate(rows) for b in rows[number + 1 :]
            ]
            top = sorted(pairs)[-k:]
            if top:
                within.append(len(top) / sum(1 / d for d in top) if min(top) else 0.0)
        loss = alpha * sum(within) / len(within) if within else 0.0
        if len(centers) > 1:
            nearest = min(
                far(a, b)
                for number, a in enumerate(centers)
                for b in centers[number + 1 :]
            )
            loss += beta * max(margin - nearest, 0)
        return np.full(len(x), loss)

    return losses_of


SAMPLES = {
    losses.RangeLoss: [
        Sample(
            functools.partial(losses.RangeLoss, **settings),
            oracle(
                **{
                    "squared_distance" if key == "squared" else key: value
                    for key, value in settings.items()
                }
            ),
            name=name,
            references=False,
            chunks=False,
            refused=(
                ({"alpha": -1}, "alpha"),
                ({"beta": "much"}, "beta"),
                ({"margin": None}, "margin"),
                ({"k": 0}, "k"),
            ),
        )
        for name, settings in {
            "paper": {"margin": 2.0},
            "squared": {
                "alpha": 0.5,
                "beta": 2.0,
                "margin": 1.0,
                "k": 3,
                "squared": True,
                "normalize": True,
            },
        }.items()
    ]
}
