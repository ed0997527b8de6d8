"""Facility location: the search written out, every clustering scored from scratch."""

import functools

import numpy as np
from loss_oracles import distance, unit
from loss_sample import Sample

from tfembed import losses


def entropy(groups):
    _, sizes = np.unique(groups, return_counts=True)
    return -sum(n / len(groups) * np.log(n / len(groups)) for n in sizes)


def nmi(classes, clusters, average):
    a, b = entropy(classes), entropy(clusters)
    if len(set(classes)) == 1 or len(set(clusters)) == 1:
        return float(len(set(classes)) == len(set(clusters)))
    joint = entropy([hash(pair) for pair in zip(map(int, classes), map(int, clusters))])
    return (a + b - joint) / (np.sqrt(a * b) if average == "geometric" else (a + b) / 2)


def assign(d, medoids):
    """Each row's place among the medoids; a medoid has its own."""
    return [
        medoids.index(i)
        if i in medoids
        else min(range(len(medoids)), key=lambda place: d[i][medoids[place]])
        for i in range(len(d))
    ]


def facility(d, medoids):
    return -sum(min(row[j] for j in medoids) for row in d)


def own_facility(d, labels):
    total = 0.0
    for label in set(labels):
        rows = [i for i in range(len(d)) if labels[i] == label]
        total -= min(sum(d[i][j] for i in rows) for j in rows)
    return total


def score(d, labels, medoids, gamma, average):
    return facility(d, medoids) + gamma * (1 - nmi(labels, assign(d, medoids), average))


def search(d, labels, gamma, how, average, digits=None):
    """The medoids; of scores that agree in so many digits the first is taken."""

    def rounded(value):
        return value if digits is None else round(value, digits)

    medoids = []
    for _ in set(labels):
        medoids.append(
            max(
                (c for c in range(len(d)) if c not in medoids),
                key=lambda c: rounded(score(d, labels, [*medoids, c], gamma, average)),
            )
        )
    for _ in range(5 if how == "pam" else 0):
        clusters = assign(d, medoids)
        for place in range(len(medoids)):
            members = [i for i in range(len(d)) if clusters[i] == place]

            def with_candidate(c, place=place, members=members):
                chosen = [*medoids[:place], c, *medoids[place + 1 :]]
                disagreement = 1 - nmi(labels, assign(d, chosen), average)
                return rounded(gamma * disagreement - sum(d[i][c] for i in members))

            medoids[place] = max(members, key=with_candidate)
    return medoids


def oracle(gamma, search_by="pam", average="geometric", normalize=False):
    def losses_of(labels, embeddings, ref_labels=None, ref_embeddings=None):
        labels = [int(label) for label in np.reshape(labels, -1)]
        x = [unit(row) if normalize else np.float64(row) for row in embeddings]
        if not 1 < len(set(labels)) < len(labels):
            return np.zeros(len(x))
        d = [[distance(a, b) for b in x] for a in x]
        medoids = search(d, labels, gamma, search_by, average)
        best = score(d, labels, medoids, gamma, average)
        return np.full(len(x), max(best - own_facility(d, labels), 0))

    return losses_of


SAMPLES = {
    losses.FacilityLocation: [
        Sample(
            functools.partial(losses.FacilityLocation, **settings),
            oracle(
                settings["gamma"],
                settings.get("search", "pam"),
                settings.get("nmi_average", "geometric"),
                settings.get("normalize", False),
            ),
            name=name,
            references=False,
            chunks=False,
            xla=False,
            ties=False,
            refused=(
                ({"gamma": -1}, "gamma"),
                ({"search": "random"}, "greedy"),
                ({"nmi_average": "max"}, "geometric"),
            ),
        )
        for name, settings in {
            "paper": {"gamma": 8.0},
            "greedy": {
                "gamma": 3.0,
                "search": "greedy",
                "nmi_average": "arithmetic",
                "normalize": True,
            },
        }.items()
    ]
}
