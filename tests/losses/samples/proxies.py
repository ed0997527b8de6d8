"""Losses on similarities to proxies: each row by itself, straight from the formula.

Angles are taken with the arc cosine, and the own class's logit stands in a list.
"""

import functools
import math

import numpy as np
from loss_sample import Sample

from tfembed import losses


def cross_entropy(logits, y):
    """`-log softmax(logits)[y]`."""
    return math.log(sum(math.exp(z - max(logits)) for z in logits)) + (
        max(logits) - logits[y]
    )


def of_classes(row, per_class):
    """The largest of each class's sub-centres."""
    return [max(row[c : c + per_class]) for c in range(0, len(row), per_class)]


def by_row(loss, per_class=1):
    """An oracle from `loss(y, s)`: a row's class, its similarities to classes."""

    def oracle(labels, similarities):
        return np.array(
            [
                loss(int(y), of_classes([float(v) for v in s], per_class))
                for y, s in zip(np.ravel(labels), np.float64(similarities))
            ],
            np.float64,
        )

    return oracle


def with_own(s, y, scale, own):
    """Logits `scale * s`, but `scale * own` of class y."""
    return [scale * (own if c == y else v) for c, v in enumerate(s)]


def norm_softmax(temperature=0.05):
    return lambda y, s: cross_entropy([v / temperature for v in s], y)


def cosface(scale=64.0, margin=0.35):
    return lambda y, s: cross_entropy(with_own(s, y, scale, s[y] - margin), y)


def arcface(scale=64.0, margin=0.5, beyond_pi="shifted"):
    def loss(y, s):
        theta = math.acos(s[y])
        own = math.cos(theta + margin)
        if beyond_pi == "shifted" and theta + margin > math.pi:
            own = math.cos(theta) - margin * math.sin(margin)
        return cross_entropy(with_own(s, y, scale, own), y)

    return loss


def psi(theta, m):
    """Equation 6 of the large-margin softmax."""
    for k in range(m):
        if k * math.pi / m <= theta <= (k + 1) * math.pi / m:
            return (-1) ** k * math.cos(m * theta) - 2 * k
    raise AssertionError(theta)


def sphereface(scale=30.0, margin=4, annealing=0.0):
    def loss(y, s):
        wide = psi(math.acos(s[y]), margin)
        own = (annealing * s[y] + wide) / (1 + annealing)
        return cross_entropy(with_own(s, y, scale, own), y)

    return loss


def large_margin_softmax(margin=4, annealing=0.0, scale=1.0, per_class=1):
    """Products and lengths stand side by side; a product above its length is cut."""

    def oracle(labels, similarities):
        values = []
        for y, row in zip(np.ravel(labels), np.float64(similarities)):
            half = len(row) // 2
            logits = []
            for c in range(half // per_class):
                columns = range(c * per_class, (c + 1) * per_class)
                best = max(columns, key=lambda k: row[k])
                product, length = row[best], row[half + best]
                if c == y and length > 0:
                    cosine = min(max(product / length, -1.0), 1.0)
                    wide = length * psi(math.acos(cosine), margin)
                    product = (annealing * product + wide) / (1 + annealing)
                logits.append(scale * product)
            values.append(cross_entropy(logits, int(y)))
        return np.array(values, np.float64)

    return oracle


def p2s_grad():
    return lambda y, s: sum((v - (c == y)) ** 2 for c, v in enumerate(s)) / 2


def temperature_softmax(temperature=1.0):
    return norm_softmax(temperature)


def soft_triple(per_class, scale=20.0, gamma=0.1, margin=0.01):
    def oracle(labels, similarities):
        values = []
        for y, row in zip(np.ravel(labels), np.float64(similarities)):
            s = []
            for c in range(0, len(row), per_class):
                part = row[c : c + per_class]
                weights = [math.exp(v / gamma) for v in part]
                s.append(sum(w * v for w, v in zip(weights, part)) / sum(weights))
            values.append(
                cross_entropy(with_own(s, int(y), scale, s[int(y)] - margin), int(y))
            )
        return np.array(values, np.float64)

    return oracle


def proxy_nca(
    scale=18.0, positive_in_denominator=False, label_smoothing=0.0, margin=0.0
):
    def loss(y, s):
        z = with_own(s, y, scale, s[y] - margin)
        terms = [v for c, v in enumerate(z) if positive_in_denominator or c != y]
        total = math.log(sum(math.exp(v) for v in terms))
        for c, v in enumerate(z):
            share = label_smoothing / (len(z) - 1)
            total -= v * (1 - label_smoothing if c == y else share)
        return total

    return loss


def proxy_anchor(margin=0.1, alpha=32.0, per_class=1):
    def oracle(labels, similarities):
        labels = [int(y) for y in np.ravel(labels)]
        s = [of_classes(list(row), per_class) for row in np.float64(similarities)]
        proxies = np.shape(similarities)[1] // per_class
        pull, push = [], []
        for p in range(proxies):
            positive = [row[p] for row, y in zip(s, labels) if y == p]
            negative = [row[p] for row, y in zip(s, labels) if y != p]
            if positive:
                total = sum(math.exp(-alpha * (v - margin)) for v in positive)
                pull.append(math.log1p(total))
            push.append(
                math.log1p(sum(math.exp(alpha * (v + margin)) for v in negative))
            )
        value = np.mean(pull) + np.mean(push) if pull else 0.0
        return np.full(len(labels), value)

    return oracle


def sample(loss, oracle, name="", columns=5, classes=0, refused=(), **settings):
    return Sample(
        functools.partial(loss, **settings),
        oracle,
        name=name,
        references=False,
        chunks=False,
        similarities=columns,
        classes=classes,
        refused=(({"per_class": 0}, "per_class"), *refused),
    )


def of(loss, rule, settings, **more):
    """Samples of a row-wise loss; with `per_class`, of twelve sub-centres."""
    for name, given in settings.items():
        given = dict(given)
        per_class = given.pop("per_class", 1)
        arguments = {**given, **({"per_class": per_class} if per_class > 1 else {})}
        sized = {"columns": 12, "classes": 12 // per_class} if per_class > 1 else {}
        yield sample(
            loss, by_row(rule(**given), per_class), name, **sized, **more, **arguments
        )


SAMPLES = {
    losses.NormSoftmax: list(
        of(
            losses.NormSoftmax,
            norm_softmax,
            {
                "paper": {},
                "sharp": {"temperature": 0.01},
                "sub-centres": {"temperature": 0.1, "per_class": 3},
            },
            refused=(({"temperature": 0}, "temperature"), ({"per_class": 7}, "per_cl")),
        )
    ),
    losses.TemperatureSoftmax: list(
        of(
            losses.TemperatureSoftmax,
            temperature_softmax,
            {"plain": {}, "cool": {"temperature": 0.25, "per_class": 2}},
            refused=(
                ({"temperature": -1.0}, "temperature"),
                ({"targets": "counts"}, "targets"),
            ),
        )
    ),
    losses.P2SGrad: list(
        of(
            losses.P2SGrad,
            p2s_grad,
            {"paper": {}, "sub-centres": {"per_class": 3}},
            refused=(({"per_class": 7}, "per_cl"),),
        )
    ),
    losses.CosFace: list(
        of(
            losses.CosFace,
            cosface,
            {"paper": {}, "sub-centres": {"scale": 10.0, "per_class": 3}},
            refused=(({"scale": 0}, "scale"), ({"margin": "wide"}, "margin")),
        )
    ),
    losses.ArcFace: list(
        of(
            losses.ArcFace,
            arcface,
            {
                "paper": {},
                "formula": {"scale": 10.0, "margin": 1.0, "beyond_pi": "formula"},
                "sub-centres": {"scale": 10.0, "margin": 1.2, "per_class": 3},
            },
            refused=(
                ({"scale": 0}, "scale"),
                ({"margin": 28.6}, "radians"),
                ({"beyond_pi": "wrap"}, "shifted"),
            ),
        )
    ),
    losses.SphereFace: list(
        of(
            losses.SphereFace,
            sphereface,
            {
                "quadruple": {"scale": 8.0},
                "annealed": {"margin": 3, "annealing": 5.0, "per_class": 3},
            },
            refused=(
                ({"scale": 0}, "scale"),
                ({"margin": 1.5}, "margin"),
                ({"annealing": -1}, "annealing"),
            ),
        )
    ),
    losses.LargeMarginSoftmax: [
        sample(
            losses.LargeMarginSoftmax,
            large_margin_softmax(**settings),
            name,
            columns=2 * columns,
            classes=columns // settings.get("per_class", 1),
            refused=(
                ({"scale": 0}, "scale"),
                ({"margin": 1.5}, "margin"),
                ({"annealing": -1}, "annealing"),
                ({"per_class": 7}, "per_class"),
            ),
            **settings,
        )
        for name, columns, settings in [
            ("quadruple", 5, {"scale": 3.0}),
            ("annealed", 6, {"margin": 3, "annealing": 2.0, "per_class": 2}),
        ]
    ],
    losses.SoftTriple: [
        sample(
            losses.SoftTriple,
            soft_triple(**settings),
            name,
            columns=12,
            classes=12 // settings["per_class"],
            refused=(({"scale": 0}, "scale"), ({"gamma": 0}, "gamma")),
            **settings,
        )
        for name, settings in {
            "paper": {"per_class": 4},
            "wide": {"per_class": 3, "scale": 5.0, "gamma": 0.5, "margin": 0.3},
        }.items()
    ],
    losses.ProxyNCA: list(
        of(
            losses.ProxyNCA,
            proxy_nca,
            {
                "paper": {},
                "softmax": {
                    "positive_in_denominator": True,
                    "label_smoothing": 0.1,
                    "margin": 0.2,
                },
                "sub-centres": {
                    "scale": 4.0,
                    "label_smoothing": 0.3,
                    "margin": 0.1,
                    "per_class": 3,
                },
            },
            refused=(
                ({"scale": 0}, "scale"),
                ({"label_smoothing": 2}, "label_smoothing"),
            ),
        )
    ),
    losses.ProxyAnchor: [
        sample(
            losses.ProxyAnchor,
            proxy_anchor(),
            "paper",
            refused=(({"alpha": 0}, "alpha"), ({"margin": "wide"}, "margin")),
        ),
        sample(
            losses.ProxyAnchor,
            proxy_anchor(0.3, 4.0, 3),
            "sub-centres",
            columns=12,
            classes=4,
            margin=0.3,
            alpha=4.0,
            per_class=3,
        ),
    ],
}
