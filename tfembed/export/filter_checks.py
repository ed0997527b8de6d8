"""Filtered searches that an export is asked, and how each answer is checked."""

import numpy as np

from tfembed.export.comparison import check_bad, rows_of_answer
from tfembed.export.text_entries import NO_LINES, as_text, with_further_entries


def filtered_requests(checks, as_bytes):
    """Searches without the nearest rows, in one class, and in a list of ids."""
    gallery, count = checks.gallery, len(checks.expected)
    _, rows = checks.order
    empty = np.full((count, 1), b"", object)
    nothing = dict.fromkeys(
        ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels"), empty
    )
    near = rows[:, : min(2, gallery.size)]
    ids = np.array([[n.encode() for n in gallery.ids[row]] for row in near], object)

    def without(start, stop):
        return ~(near[:, :, None] == np.arange(start, stop)).any(axis=1)

    def only(start, stop):
        return ~without(start, stop)

    cases = [
        ({"exclude_ids": ids}, without),
        ({"allow_ids": np.concatenate([ids, empty], axis=1)}, only),
    ]
    labelled = gallery.labels[gallery.labels >= 0]
    if len(labelled):
        label = np.bincount(labelled[: 1 << 20]).argmax()
        name = np.full((count, 1), str(gallery.class_names[label]).encode(), object)

        def of_class(start, stop):
            same = gallery.class_names[gallery.labels[start:stop].clip(0)]
            same = (same == gallery.class_names[label]) & (
                gallery.labels[start:stop] >= 0
            )
            return np.broadcast_to(same, (count, stop - start))

        def of_others(start, stop):
            return ~of_class(start, stop)

        cases += [
            ({"allow_labels": name}, of_class),
            ({"exclude_labels": name}, of_others),
        ]
    requests = []
    for filters, remains in cases:
        inputs = {"embeddings": checks.expected, **nothing, **filters}

        def check(answer, remains=remains):
            checks.search(checks.expected, answer, remains)

        def check_lines(answer, remains=remains):
            checks.search(
                checks.expected, rows_of_answer(answer, slice(count)), remains
            )
            check_bad(rows_of_answer(answer, slice(count, None)))

        requests.append(("search_filtered", inputs, check))
        lines = {"embeddings": checks.expected[[*range(count), 0]]}
        for name in nothing:
            texts = map(as_text, with_further_entries(inputs[name]))
            last = NO_LINES if name in filters else b""
            lines[name] = np.array([*texts, last], object)
        requests.append(("search_filtered_lines", lines, check_lines))
    several = {name: np.repeat(v[:1], 2, 0) for name, v in nothing.items()}
    inputs = {"image_bytes": as_bytes[[0, -1]], **several}
    lines = {"image_bytes": as_bytes[[0, -1]]}
    lines.update(dict.fromkeys(nothing, np.array([b"", b""], object)))

    def check_bytes(answer):
        if not checks.mixed:
            found = rows_of_answer(answer, slice(1))
            checks.search(
                checks.embedded["bytes"][:1],
                found,
                lambda start, stop: np.ones((1, stop - start), bool),
            )
        check_bad(rows_of_answer(answer, slice(1, None)))

    return [
        *requests,
        ("search_filtered_bytes", inputs, check_bytes),
        ("search_filtered_bytes_lines", lines, check_bytes),
    ]
