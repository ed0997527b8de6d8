"""One run, looked at: what the page shows of it."""

import functools

import numpy as np

from tfembed.formats.unit_rows import unit_rows
from tfembed.report import curves, figures, pictures, projection, tables
from tfembed.report.health import health
from tfembed.report.neighbors import confusions, most_confused, pairs, search

SHOWN = 12  # queries in a gallery
NEIGHBORS = 8  # beside each
MATRIX = 20  # most classes in a table of confusions
CHIPS = 24  # most classes in a legend
SETS = 6  # positive sets shown


class View:
    """A run, and what is computed of it once, whatever the detail of the page.

    Args:
        run: A `Run`.
        number: Its place among the page's runs.
        methods: Maps to draw.
        seed: Of samples.

    Attributes:
        found: The `Search` of its queries, None if there is nothing to look up.
    """

    def __init__(self, run, number, methods, seed):
        self.run, self.number, self.methods, self.seed = run, number, methods, seed
        self.key = f"run{number}"
        self.found = self.health = None
        self._maps = {}
        if run.gallery is not None:
            self.health = health(run)
        if run.searchable and run.gallery.size > 1 and run.judged.size:
            self.found = search(run, seed)

    def context(self, side, cell, points):
        """Returns what the template shows of the run.

        Args:
            side: Longest side of a picture, in pixels.
            cell: Of a picture in the map's sprite.
            points: Most points of a map.
        """
        run = self.run
        context = {
            "key": self.key,
            "number": self.number,
            "name": run.name,
            "labelled": run.labelled,
            "missing": run.missing,
            "warnings": tables.warnings(run)
            + (self.health or {"warnings": []})["warnings"],
            "looked_up": None,
            "galleries": [],
            "map": None,
            "confusion": None,
            "pairs": None,
            "positives": self._positives(side),
            "health": self._health,
        }
        if self.found is not None:
            context["looked_up"] = self._looked_up()
            context["galleries"] = [
                {
                    "key": f"{self.key}-random",
                    "name": "Random",
                    "text": f"{min(SHOWN, len(self.found.queries))} of "
                    f"{len(self.found.queries):,} queries, drawn without looking at "
                    "what they find.",
                    "queries": self.queries(self.found.random(SHOWN, self.seed), side),
                },
                {
                    "key": f"{self.key}-worst",
                    "name": "Worst",
                    "text": self._worst_text(),
                    "queries": self.queries(self.found.worst(SHOWN), side),
                },
            ]
            context["map"] = self._map(cell, points)
            if run.labelled:
                context["confusion"] = self._confusion(side)
            context["pairs"] = self._pairs
        return context

    def _looked_up(self):
        run, found = self.run, self.found
        whose, where = "held-out images", f"in the {run.gallery.size:,} of the gallery"
        if run.queries is None:
            whose, where = "images of the gallery", "among all its others"
            if run.unseen:
                whose = "images of classes that training never saw"
        text = f"{len(found.queries):,} {whose}"
        if len(found.queries) < run.judged.size:
            text = f"A random sample of {text} (of {run.judged.size:,})"
        text += f", looked up {where} by cosine."
        lone = int(np.sum((found.labels >= 0) & ~found.findable))
        if lone:
            text += f" {lone:,} of them have no other image of their class to find."
        return text

    def _worst_text(self):
        if self.found.findable.any():
            return (
                "The queries whose own class has the smallest share of the vote of "
                f"their {self.found.rows.shape[1]} nearest neighbours; among equal "
                "ones, those with the nearest wrong neighbour."
            )
        return "The queries whose nearest neighbour is the farthest."

    def queries(self, positions, side):
        """Returns queries at positions of the search, and what they found."""
        run, found = self.run, self.found
        shown = []
        for at in positions:
            row = found.queries[at]
            query = self._image(run.judged, row, side)
            query["vote"] = run.class_name(found.vote[at]) if run.labelled else ""
            query["right"] = None
            if found.labels[at] >= 0 and found.vote[at] >= 0:
                query["right"] = bool(found.vote[at] == found.labels[at])
                query["share"] = f"{100 * found.share[at]:.0f} %"
            query["neighbors"] = []
            for rank in range(min(NEIGHBORS, found.rows.shape[1])):
                each = self._image(run.gallery, found.rows[at, rank], side)
                each["score"] = f"{found.scores[at, rank]:.2f}"
                each["right"] = None
                if found.labels[at] >= 0 and found.found[at, rank] >= 0:
                    each["right"] = bool(found.right[at, rank])
                query["neighbors"].append(each)
            shown.append(query)
        return shown

    def _image(self, images, row, side):
        pixels = images.picture(row)
        return {
            "id": str(images.ids[row]),
            "label": self.run.class_name(images.labels[row]),
            "uri": None if pixels is None else pictures.data_uri(pixels, side),
        }

    def _map(self, cell, points):
        run, found = self.run, self.found
        at = found.random(points, self.seed)
        rows = found.queries[at]
        if len(rows) not in self._maps:
            self._maps[len(rows)] = {
                method: projection.project(
                    run.judged.embeddings[rows], method, self.seed
                )
                for method in self.methods
            }
        places = self._maps[len(rows)]
        classes = np.unique(run.judged.labels[rows])
        colors = figures.class_colors(len(classes))
        codes = np.searchsorted(classes, run.judged.labels[rows])
        names = [run.class_name(label) or "unknown" for label in classes]
        thumbnails = [run.judged.picture(row) for row in rows]
        sheet, columns = None, 1
        if any(each is not None for each in thumbnails):
            largest = max(
                max(each.shape[:2]) for each in thumbnails if each is not None
            )
            cell = min(cell, largest)
            sheet, columns = pictures.sprite(thumbnails, cell)
        of = "queries" if run.queries is not None else "gallery images"
        described = (
            f"Map of {len(rows):,} {of} by {{}}: each point an image, its colour the "
            "class. Arrow keys go from image to image."
        )
        right = [None] * len(rows)
        if run.labelled:
            right = [
                int(found.vote[i] == found.labels[i]) if found.labels[i] >= 0 else None
                for i in at
            ]
        votes = {}
        for label in found.vote[at]:
            votes.setdefault(int(label), run.class_name(label))
        return {
            "layers": [
                {
                    "method": method,
                    "name": projection.METHODS[method],
                    "svg": figures.scatter(
                        f"{self.key}-map-{method}",
                        places[method],
                        [colors[code] for code in codes],
                        described.format(projection.METHODS[method]),
                    ),
                }
                for method in self.methods
            ],
            "count": len(rows),
            "total": run.judged.size,
            "of": of,
            "classes": list(zip(names, colors)) if run.labelled else [],
            "chips": len(names) <= CHIPS,
            "sprite": None if sheet is None else pictures.sprite_uri(sheet),
            "data": {
                "cell": cell,
                "columns": columns,
                "classes": names if run.labelled else None,
                "codes": codes.tolist(),
                "right": right,
                "votes": [votes[int(label)] for label in found.vote[at]],
                "ids": run.judged.ids[rows].tolist(),
            },
        }

    def _confusion(self, side):
        run, found = self.run, self.found
        classes, counts = confusions(found)
        names = [run.class_name(label) for label in classes]
        matrix = None
        if 0 < len(classes) <= MATRIX:
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            matrix = [
                {"name": name, "total": int(row.sum()), "cells": list(zip(row, share))}
                for name, row, share in zip(names, counts, shares)
            ]
        pairs_of = []
        for each in most_confused(found):
            example = self.queries([each.example], side)[0]
            pairs_of.append(
                {
                    "label": run.class_name(each.label),
                    "taken_for": run.class_name(each.taken_for),
                    "count": each.count,
                    "queries": each.queries,
                    "percent": f"{100 * each.count / each.queries:.0f}",
                    "query": example,
                    "neighbor": example["neighbors"][0],
                }
            )
        right = int(np.trace(counts))
        return {
            "classes": names,
            "matrix": matrix,
            "pairs": pairs_of,
            "right": right,
            "total": int(counts.sum()),
        }

    @functools.cached_property
    def _pairs(self):
        found = pairs(self.run, self.found, self.seed)
        groups = []
        kinds = ("same class", "different classes")
        if not found.labelled:
            kinds = ("nearest neighbours", "any two images")
        for kind, color, values in (
            (kinds[1], "bad", found.negative),
            (kinds[0], "good", found.positive),
        ):
            if len(values):
                groups.append((kind, color, values))
        if not groups:
            return None
        means = "; ".join(
            f"{kind}: mean {values.mean():.3f} of {len(values):,}"
            for kind, _, values in groups
        )
        described = f"Histograms of the cosines of pairs. {means}."
        return {
            "svg": figures.histograms(
                f"{self.key}-pairs", groups, described, "cosine similarity"
            ),
            "rows": [
                (
                    kind,
                    f"{len(values):,}",
                    *(
                        f"{number:.3f}"
                        for number in (
                            values.mean(),
                            *np.quantile(values, (0.05, 0.5, 0.95)),
                        )
                    ),
                )
                for kind, _, values in groups[::-1]
            ],
            "separation": None
            if np.isnan(found.separation)
            else f"{100 * found.separation:.1f} %",
        }

    def _positives(self, side):
        run = self.run
        if not run.rounds and run.positives is None:
            return None
        text, sizes, sets = "", None, None
        if run.positives is not None:
            offsets, indices = run.positives
            owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
            others = owner != indices  # an image stands in its own set
            owner, indices = owner[others], indices[others]
            counts = np.bincount(owner, minlength=len(offsets) - 1)
            text = self._positives_text(counts, owner, indices)
            sizes = figures.histograms(
                f"{self.key}-sizes",
                [("images", self.number, counts)],
                f"Histogram of the sizes of the sets: mean {counts.mean():.2f}.",
                "positives of an image",
                "images",
                bins=int(np.clip(np.ptp(counts), 1, 40)),
            )
            order = np.random.default_rng(self.seed).permutation(len(counts))
            sets = [
                self._positive_set(row, indices[owner == row], side)
                for row in order[counts[order] > 0][:SETS]
            ]
        return {
            "text": text,
            "figures": curves.round_figures(run, self.key, self.number),
            "table": curves.column_table(run.rounds),
            "sizes": sizes,
            "sets": sets,
        }

    def _positives_text(self, counts, owner, indices):
        text = (
            f"At the end an image has {counts.mean():.2f} positives in the mean, "
            f"{counts.max():,} at most; {int((counts == 0).sum()):,} of "
            f"{len(counts):,} have none."
        )
        labels = self.run.gallery.labels
        known = (labels[owner] >= 0) & (labels[indices] >= 0)
        if known.any():
            same = np.mean(labels[owner[known]] == labels[indices[known]])
            text += f" {100 * same:.1f} % of the positives are of the image's class."
        return text

    def _positive_set(self, row, members, side):
        """Returns an image and its positives, for the template."""
        gallery = self.run.gallery
        anchor = self._image(gallery, row, side)
        anchor.update(vote="", right=None, neighbors=[])
        anchor["more"] = max(0, len(members) - NEIGHBORS)
        unit = unit_rows(gallery.embeddings[[row, *members]])
        for other, cosine in zip(members[:NEIGHBORS], unit[1:] @ unit[0]):
            each = self._image(gallery, other, side)
            each.update(score=f"{cosine:.2f}", right=None)
            if gallery.labels[row] >= 0 and gallery.labels[other] >= 0:
                each["right"] = bool(gallery.labels[row] == gallery.labels[other])
            anchor["neighbors"].append(each)
        return anchor

    @functools.cached_property
    def _health(self):
        if self.health is None:
            return None
        svgs = []
        if self.health["spread"] is not None:
            found = self.health["spread"]
            svgs.append(
                (
                    "Variance by direction",
                    figures.spectrum(
                        f"{self.key}-spectrum",
                        [(self.run.name, self.number, found.spectrum)],
                        f"Share of the variance in the largest directions; effective "
                        f"rank {found.effective_rank:.1f} of {len(found.spectrum)}.",
                    ),
                )
            )
            if np.ptp(found.norms) > 1e-3 * max(float(found.norms.mean()), 1e-12):
                svgs.append(
                    (
                        "Lengths",
                        figures.histograms(
                            f"{self.key}-norms",
                            [("gallery", self.number, found.norms)],
                            "Histogram of the lengths of the embeddings.",
                            "length of an embedding",
                        ),
                    )
                )
        return {"rows": self.health["rows"], "figures": svgs}
