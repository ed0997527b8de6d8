"""The formulas of the papers, in float64 NumPy loops."""

import numpy as np


def softmax_losses(embeddings, rows, ids, temperature):
    """-log of Wu et al. (2018), equation 2 (equation 1 for trained rows)."""
    losses = []
    for f, i in zip(np.float64(embeddings), ids):
        s = np.array([f @ v for v in np.float64(rows)]) / temperature
        losses.append(np.log(np.sum(np.exp(s - s.max()))) + s.max() - s[i])
    return np.array(losses)


def similarity_losses(
    embeddings,
    rows,
    ids,
    sets,
    temperature,
    weight,
    hard="least_similar",
    hard_by="bank",
    hard_sign="plus",
    single="skip",
):
    """Wang et al. (2021), L1 + weight * L2; `sets[i]` are the others of i's set."""
    rows = np.float64(rows)

    def distribution(vector):
        s = rows @ vector / temperature
        p = np.exp(s - s.max())
        return p / p.sum()

    losses = []
    for f, i in zip(np.float64(embeddings), ids):
        p = distribution(f)
        loss = -np.log(sum(p[k] for k in {i, *sets[i]}))
        anchor = rows[i] if hard_by == "bank" else f
        ranked = sorted(set(sets[i]) - {i}, key=lambda k: anchor @ rows[k])
        if ranked or single == "own_row":
            ranked = ranked or [i]
            place = 0 if hard == "least_similar" else -1
            q = distribution(rows[ranked[place]])
            divergence = sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q))
            loss += {"plus": 1, "minus": -1}[hard_sign] * weight * divergence
        losses.append(loss)
    return np.array(losses)


def nce_losses(embeddings, rows, ids, drawn, temperature, z):
    """Equations 5 to 7: posteriors against uniform noise; `drawn` `(batch, m)`."""
    size, m = len(rows), drawn.shape[1]
    rows = np.float64(rows)
    losses, noise = [], []
    for f, i, negatives in zip(np.float64(embeddings), ids, drawn):
        p = np.exp(rows[i] @ f / temperature) / z
        loss = -np.log(p / (p + m / size))
        for j in negatives:
            p = np.exp(rows[j] @ f / temperature) / z
            h = p / (p + m / size)
            loss -= np.log(1 - h)
            noise.append(h)
        losses.append(loss)
    return np.array(losses), np.mean(noise)


def nce_normalizer(embeddings, rows, ids, drawn, temperature):
    """The official code's one-batch estimate: positives and negatives together."""
    rows = np.float64(rows)
    terms = []
    for f, i, negatives in zip(np.float64(embeddings), ids, drawn):
        terms.extend(np.exp(rows[[i, *negatives]] @ f / temperature))
    return len(rows) * np.mean(terms)


def info_nce_losses(embeddings, rows, ids, drawn, temperature):
    """Cross-entropy over one positive and the drawn negatives."""
    rows = np.float64(rows)
    losses = []
    for f, i, negatives in zip(np.float64(embeddings), ids, drawn):
        s = np.array([rows[j] @ f for j in [i, *negatives]]) / temperature
        losses.append(-np.log(np.exp(s[0]) / np.sum(np.exp(s))))
    return np.array(losses)


def proximal_losses(embeddings, rows, ids, weight):
    """Section 3.3: `weight * ||f - v||^2`."""
    return np.array(
        [
            weight * np.sum((f - rows[i]) ** 2)
            for f, i in zip(np.float64(embeddings), ids)
        ]
    )


def updated_bank(rows, embeddings, ids, momentum):
    """Row i moves towards the mean of the batch's embeddings of i; unit length."""
    rows = np.array(rows, np.float64)
    for i in set(int(i) for i in ids):
        mean = np.mean([f for f, j in zip(embeddings, ids) if j == i], axis=0)
        row = momentum * rows[i] + (1 - momentum) * mean
        rows[i] = row / np.sqrt(np.sum(row**2))
    return rows


def center_losses(embeddings, centers, labels, weight):
    """The second term of Wen et al. (2016), equation 5, row by row."""
    return np.array(
        [
            weight / 2 * np.sum((x - centers[y]) ** 2)
            for x, y in zip(np.float64(embeddings), labels)
        ]
    )


def moved_centers(centers, embeddings, labels, rate):
    """Wen et al. (2016), equation 4, class by class."""
    centers = np.array(centers, np.float64)
    for j in set(int(y) for y in labels):
        own = [np.float64(x) for x, y in zip(embeddings, labels) if y == j]
        change = sum(centers[j] - x for x in own) / (1 + len(own))
        centers[j] -= rate * change
    return centers


def margin_losses(embeddings, beta, labels, margin, weight, active, unit):
    """Wu et al. (2017), equation 5: pairs one by one; `beta` of each anchor."""
    x = np.float64(embeddings)
    if unit:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    sums, count = np.zeros(len(x)), 0
    for i in range(len(x)):
        for j in range(len(x)):
            if i == j:
                continue
            over = np.linalg.norm(x[i] - x[j]) - beta[i]
            term = max(margin + (over if labels[i] == labels[j] else -over), 0)
            sums[i] += term
            count += not active or term > 0
    return sums * len(x) / max(count, 1) + weight * np.float64(beta)


def proxy_softmax_losses(embeddings, proxies, labels, temperature, form):
    """Cross-entropy of cosines, the own class's with the margin of its paper."""
    losses = []
    for x, y in zip(np.float64(embeddings), labels):
        logits = []
        for j, p in enumerate(np.float64(proxies)):
            cosine = x @ p / np.linalg.norm(x) / np.linalg.norm(p)
            if j == y and form == "cosface":
                cosine -= 0.35
            elif j == y and form == "arcface":
                theta = np.arccos(cosine)
                beyond = theta + 0.5 > np.pi
                shifted = cosine - 0.5 * np.sin(0.5)
                cosine = shifted if beyond else np.cos(theta + 0.5)
            logits.append(cosine / temperature)
        top = max(logits)
        losses.append(np.log(sum(np.exp(z - top) for z in logits)) + top - logits[y])
    return np.array(losses)


def numeric_gradient(function, x, step=1e-5):
    """Central differences of a scalar function of a float64 array."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def top_k(queries, gallery, k):
    """Neighbours by inner product, ties to the lowest row."""
    scores = np.float64(queries) @ np.float64(gallery).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def weighted_knn(queries, gallery, labels, k, temperature):
    """Wu et al. (2018), section 3.4, one query at a time; cosine similarity."""
    queries = np.float64(queries) / np.linalg.norm(queries, axis=1, keepdims=True)
    gallery = np.float64(gallery) / np.linalg.norm(gallery, axis=1, keepdims=True)
    winners = []
    for query in queries:
        scores = gallery @ query
        nearest = np.argsort(-scores, kind="stable")[:k]
        votes = {}
        for j in nearest:
            weight = np.exp(scores[j] / temperature)
            votes[labels[j]] = votes.get(labels[j], 0.0) + weight
        best = max(votes.values())
        winners.append(min(c for c, v in votes.items() if v == best))
    return np.array(winners)


def rounding(left, right, digits=2.0**-23):
    """What inner products of all rows may be off by, where `digits` are kept.

    In units of what stands in the largest of their sums, whatever they come to, with
    room for any order of summing.

    Args:
        left: `(rows, dim)`.
        right: `(refs, dim)`.
        digits: The difference of 1 and the next larger number.
    """
    sums = np.abs(np.float64(left)) @ np.abs(np.float64(right)).T
    return 4 * digits * float(sums.max(initial=0))
