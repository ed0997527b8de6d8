"""The protocol of classes that were seen: neighbours' votes and a linear probe."""

import numpy as np

from tfembed.recipes.judge import BATCH, KNOWN_SHARE, Judge

KS = (10, 200)
PROBE_IMAGES = 50000


class SeenClasses(Judge):
    """Classifies test images by the training images, whose classes are the same."""

    protocol = "seen"
    monitor = "knn_10"

    def callback(self):
        """Returns the callback that measures after each epoch."""
        from tfembed.callbacks import NeighborAccuracy

        return NeighborAccuracy(
            self.encoder,
            self.data.train.batches(BATCH),
            self.data.train.labels,
            self.watched.batches(BATCH),
            self.watched.labels,
            ks=KS,
            temperature=self.config.knn_temperature,
            every=self.config.knn_every,
        )

    def baselines(self):
        """Measures raw pixels, centred pixels and the network as it is now."""
        if not self.labelled:
            return []
        rows = []
        pixels = self.pixels(self.data.train, self.data.test)
        if pixels is not None:
            probe = self._probe(*pixels)
            rows.append(self._row("raw pixels", *pixels, probe))
            mean = pixels[0].mean(axis=0)
            # The probe standardises: to it the mean makes no difference.
            rows.append(
                self._row("raw pixels - mean", *(each - mean for each in pixels), probe)
            )
        return [*rows, self.row(self.before)]

    def row(self, name):
        """Measures the network as it is now."""
        return self._row(name, *self._measure())

    def result(self, baselines):
        """Measures the trained encoder."""
        from tfembed.metrics import embed, nearest

        result = {**self.facts(), "table": []}
        self.queries = None
        if self.labelled:
            self.gallery, self.queries, probe = self._measure()
            row = self._row("trained encoder", self.gallery, self.queries, probe)
            result["table"] = [*baselines, row]
        else:
            self.gallery = embed(self.encoder, self.data.train.batches(BATCH))
            if self.data.test is not None and self.data.test.size:
                self.queries = embed(self.encoder, self.data.test.batches(BATCH))
        self.known_threshold = -1e30
        if self.queries is not None:
            scores, _ = nearest(self.queries, self.gallery, 1)
            self.known_threshold = float(np.quantile(scores, 1 - KNOWN_SHARE))
            result["known_threshold"] = self.known_threshold
        return result

    def write_embeddings(self, directory):
        """Writes gallery and queries."""
        train = self.data.train
        self.write_gallery(directory, train, self.gallery, self.known_threshold)
        if self.queries is not None:
            self.write_queries(directory, self.queries)
            self.write_samples(directory)

    def _measure(self):
        """Returns gallery, queries and the probe's accuracy, of the network now."""
        from tfembed.metrics import embed

        train_features, gallery = embed(self.features, self.data.train.batches(BATCH))
        test_features, queries = embed(self.features, self.data.test.batches(BATCH))
        return gallery, queries, self._probe(train_features, test_features)

    def _probe(self, train, test):
        """Returns the hits of a linear probe, `None` where there is none to train."""
        if not self.config.linear_probe:
            return None
        from tfembed.metrics import linear_probe_hits

        labels = self.data.train.labels
        rows = np.arange(len(train))
        if len(rows) > PROBE_IMAGES:
            rows = np.random.default_rng(0).permutation(rows)[:PROBE_IMAGES]
        if len(np.unique(labels[rows])) < 2:
            return None
        return linear_probe_hits(train[rows], labels[rows], test, self.data.test.labels)

    def _row(self, name, gallery, queries, probe):
        from tfembed.metrics import bootstrap_intervals, weighted_knn_hits

        ks = [k for k in KS if k <= len(gallery)]
        found = weighted_knn_hits(
            queries,
            self.data.test.labels,
            gallery,
            self.data.train.labels,
            ks,
            self.config.knn_temperature,
        )
        hits = {f"knn_{k}": found.get(k) for k in KS}
        hits["linear_probe"] = probe
        known = {
            key: np.float64(each) for key, each in hits.items() if each is not None
        }
        row = {"representation": name}
        for key in hits:
            row[key] = float(known[key].mean()) if key in known else None
        intervals = bootstrap_intervals(known, seed=self.config.seed)
        return {
            **row,
            "intervals": {key: list(each) for key, each in intervals.items()},
        }
