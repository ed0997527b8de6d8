"""What a run is measured by: neighbours and a linear probe, beside baselines."""

import numpy as np

KS = (10, 200)
KNOWN_SHARE = 0.95
BATCH = 500
QUERIES = 8
THUMBNAIL_BYTES = 2**28
PROBE_IMAGES = 50000


class Judge:
    """Measures the encoder of a run on clean images.

    Args:
        config: The run's config.
        data: The `ImageData`.
        encoder: From images to embeddings.
        features: From images to the backbone's features and the embeddings.
    """

    def __init__(self, config, data, encoder, features):
        self.config = config
        self.data = data
        self.encoder = encoder
        self.features = features
        self.labelled = (
            data.test is not None
            and data.test.size > 0
            and data.train.labels is not None
            and data.test.labels is not None
        )

    def callback(self):
        """Returns the callback that measures after each epoch."""
        from tfembed.callbacks import NeighborAccuracy

        return NeighborAccuracy(
            self.encoder,
            self.data.train.batches(BATCH),
            self.data.train.labels,
            self.data.test.batches(BATCH),
            self.data.test.labels,
            ks=KS,
            temperature=self.config.knn_temperature,
            every=self.config.knn_every,
        )

    def baselines(self):
        """Measures raw pixels, centred pixels and the network as it is now.

        Returns:
            List of rows of the result's table; none without labels. Pixels are left
            out where they would not fit into memory.
        """
        if not self.labelled:
            return []
        rows = []
        train, test = self.data.train, self.data.test
        if train.size * np.prod(self.data.image_shape) * 4 <= 2**31:
            pixels = _pixels(train), _pixels(test)
            probe = self._probe(*pixels)
            rows.append(self._row("raw pixels", *pixels, probe))
            mean = pixels[0].mean(axis=0)
            # The probe standardises: to it the mean makes no difference.
            rows.append(
                self._row("raw pixels - mean", *(each - mean for each in pixels), probe)
            )
        rows.append(self._row("untrained network", *self._measure()))
        return rows

    def result(self, baselines):
        """Measures the trained encoder.

        Args:
            baselines: What `baselines` returned before training.

        Returns:
            The dictionary of `result.json`.
        """
        from tfembed.metrics import embed, nearest

        self.gallery = None
        result = {
            "dataset": self.data.name,
            "training_images": self.data.train.size,
            "test_images": 0 if self.data.test is None else self.data.test.size,
            "skipped_images": len(self.data.train.skipped),
            "evaluated_on": "training images held out"
            if self.config.holdout
            else "test images",
            "epochs": self.config.epochs,
            "seed": self.config.seed,
            "knn_temperature": self.config.knn_temperature,
            "table": [],
        }
        if self.labelled:
            gallery, queries, probe = self._measure()
            result["table"] = [
                *baselines,
                self._row("trained encoder", gallery, queries, probe),
            ]
        else:
            gallery = embed(self.encoder, self.data.train.batches(BATCH))
            queries = None
            if self.data.test is not None and self.data.test.size:
                queries = embed(self.encoder, self.data.test.batches(BATCH))
        self.gallery = gallery
        self.known_threshold = -1e30
        if queries is not None:
            scores, _ = nearest(queries, gallery, 1)
            self.known_threshold = float(np.quantile(scores, 1 - KNOWN_SHARE))
            result["known_threshold"] = self.known_threshold
        return result

    def write_gallery(self, directory):
        """Writes `gallery.npz`, `thumbnails.npz` and `queries/`; after `result`."""
        train, test = self.data.train, self.data.test
        labels = train.labels
        if labels is None:
            labels = np.full(train.size, -1, np.int64)
        directory.write_npz(
            "gallery.npz",
            embeddings=np.asarray(self.gallery, np.float32),
            labels=np.asarray(labels, np.int64),
            ids=np.asarray(train.names, np.str_),
            class_names=np.asarray(self.data.class_names or [], np.str_),
            known_threshold=np.float32(self.known_threshold),
            vote_temperature=np.float32(self.config.knn_temperature),
            vote_k=np.int64(min(max(KS), train.size)),
        )
        in_memory = not self.config.dataset.startswith("folder:")
        if in_memory and train.size * np.prod(self.data.image_shape) <= THUMBNAIL_BYTES:
            directory.write_npz(
                "thumbnails.npz",
                images=train.read(np.arange(train.size)),
                ids=np.asarray(train.names, np.str_),
            )
        if test is not None and test.size:
            self._write_queries(directory)

    def _write_queries(self, directory):
        """Writes a few held-out images, of as many classes as there are."""
        import tensorflow as tf

        test = self.data.test
        order = np.random.default_rng(self.config.seed).permutation(test.size)
        if test.labels is not None:  # one of each class first, then the next of each
            seen, rank = {}, []
            for row in order:
                label = int(test.labels[row])
                rank.append(seen.get(label, 0))
                seen[label] = rank[-1] + 1
            order = order[np.argsort(rank, kind="stable")]
        (directory / "queries").mkdir(exist_ok=True)
        for row in order[:QUERIES]:
            name = "image"
            if test.labels is not None:
                label = int(test.labels[row])
                name = str(label)
                if self.data.class_names:
                    name = self.data.class_names[label].replace("/", "_")
            png = tf.io.encode_png(test.read([row])[0]).numpy()
            directory.write_bytes(f"queries/{name}-{row:05d}.png", png)

    def _measure(self):
        """Returns gallery, queries and the probe's accuracy, of the network now."""
        from tfembed.metrics import embed

        train_features, gallery = embed(self.features, self.data.train.batches(BATCH))
        test_features, queries = embed(self.features, self.data.test.batches(BATCH))
        return gallery, queries, self._probe(train_features, test_features)

    def _probe(self, train, test):
        if not self.config.linear_probe:
            return None
        from tfembed.metrics import linear_probe

        labels = self.data.train.labels
        rows = np.arange(len(train))
        if len(rows) > PROBE_IMAGES:
            rows = np.random.default_rng(0).permutation(rows)[:PROBE_IMAGES]
        if len(np.unique(labels[rows])) < 2:
            return None
        return linear_probe(train[rows], labels[rows], test, self.data.test.labels)

    def _row(self, name, gallery, queries, probe):
        from tfembed.metrics import weighted_knn

        ks = [k for k in KS if k <= len(gallery)]
        predictions = weighted_knn(
            queries,
            gallery,
            self.data.train.labels,
            ks,
            self.config.knn_temperature,
        )
        row = {"representation": name}
        for k in KS:
            row[f"knn_{k}"] = None
            if k in predictions:
                hits = predictions[k] == self.data.test.labels
                row[f"knn_{k}"] = float(np.mean(hits))
        row["linear_probe"] = probe
        return row


def _pixels(split):
    images = split.read(np.arange(split.size))
    return images.reshape(split.size, -1).astype(np.float32)
