"""The protocol of classes that nobody trained on: retrieval among them."""

import numpy as np

from tfembed.recipes.judge import BATCH, KNOWN_SHARE, Judge

KS = (1, 2, 4, 8)
RESTARTS = 2


class UnseenClasses(Judge):
    """Searches the images of the test classes for others of the same class."""

    protocol = "unseen"
    monitor = "MAP@R"

    def callback(self):
        """Returns the callback that measures after each epoch."""
        from tfembed.callbacks import RetrievalQuality

        return RetrievalQuality(
            self.encoder,
            self.watched.batches(BATCH),
            self.watched.labels,
            ks=(1,),
            every=self.config.knn_every,
        )

    def baselines(self):
        """Measures raw pixels, centred pixels and the network as it is now."""
        test = self.data.test
        rows = []
        pixels = self.pixels(test)
        if pixels is not None:
            rows.append(self._row("raw pixels", pixels[0]))
            mean = self.pixels(self.data.train)
            if mean is not None:
                centred = pixels[0] - mean[0].mean(axis=0)
                rows.append(self._row("raw pixels - mean", centred))
        return [*rows, self.row(self.before)]

    def row(self, name):
        """Measures the network as it is now."""
        from tfembed.metrics import embed

        return self._row(name, embed(self.encoder, self.data.test.batches(BATCH)))

    def result(self, baselines):
        """Measures the trained encoder."""
        from tfembed.metrics import embed, nearest

        self.gallery = embed(self.encoder, self.data.test.batches(BATCH))
        row = self._row("trained encoder", self.gallery)
        scores, _ = nearest(self.gallery, self.gallery, 2)
        self.known_threshold = float(np.quantile(scores[:, 1], 1 - KNOWN_SHARE))
        _, images = np.unique(self.data.test.labels, return_counts=True)
        return {
            **self.facts(),
            "test_classes": len(images),
            "lone_images": int(np.sum(images == 1)),
            "table": [*baselines, row],
            "known_threshold": self.known_threshold,
        }

    def write_embeddings(self, directory):
        """Writes the gallery, which searches itself."""
        test = self.data.test
        self.write_gallery(directory, test, self.gallery, self.known_threshold)
        self.write_samples(directory)

    def _row(self, name, embeddings):
        from tfembed.metrics import measure_unseen

        cluster = None
        if self.config.nmi:
            cluster = {"restarts": RESTARTS, "seed": self.config.seed}
        found = measure_unseen(embeddings, self.data.test.labels, KS, cluster)
        row = found.row(name)
        for key in [key for key in row if key.startswith("P@")]:
            del row[key], row["intervals"][key]
        return row
