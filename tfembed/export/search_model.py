"""What is served: an encoder, a gallery and the exact search, as one `tf.Module`."""

import tensorflow as tf

from tfembed.compat import variable
from tfembed.export.image_bytes import decode_images
from tfembed.ops.neighbors import top_k_neighbors
from tfembed.ops.vote import weighted_vote


class SearchModel(tf.Module):
    """Embeds images and finds their neighbours in a gallery.

    | signature | input | outputs |
    |---|---|---|
    | `embed` | `images` | `embeddings`, `valid` |
    | `embed_bytes` | `image_bytes` | `embeddings`, `valid` |
    | `search_images` | `images` | `ids`, `labels`, `scores`, `vote`, ... |
    | `search_bytes`, also `serving_default` | `image_bytes` | the same |

    Inputs: `images` float32 `(batch, height, width, channels)` in 0..255;
    `image_bytes` string `(batch,)`, JPEG, PNG, GIF or BMP files.

    Outputs, all of them with the batch first:

    - `embeddings` float32 `(batch, d)`, of unit length.
    - `ids` string `(batch, k)`: gallery ids, nearest first; equal scores in the
      gallery's order.
    - `labels` string `(batch, k)`: the neighbours' class names, empty if unknown.
    - `scores` float32 `(batch, k)`: cosine similarities.
    - `vote` string `(batch,)`, `vote_probability` float32 `(batch,)`: the winner of
      the weighted vote among the `vote_k` nearest, and its share; empty and 0 if no
      neighbour has a label.
    - `known` bool `(batch,)`: whether the best score reaches the threshold.
    - `valid` bool `(batch,)`: false for bytes that do not decode, and for images or
      embeddings that are not finite. Such a row has zero embeddings, scores and
      probability, empty strings and `known` false, and leaves the others alone.

    A gallery of fewer than `k` rows gives as many columns as it has rows. Everything
    of the gallery is a variable, and none has a fixed number of rows, so that another
    gallery fits the same graph.

    Args:
        encoder: Keras model `(batch, height, width, channels)` to `(batch, d)`.
        image_shape: `(height, width, channels)`.
        gallery: A `tfembed.export.run_directory.Gallery`.
        k: Neighbours in an answer.
        max_score_bytes: A batch is searched in chunks such that the scores of a
            chunk with the whole gallery, 4 bytes each, take no more. (The search
            holds about two tables of that size for a moment.)
    """

    def __init__(self, encoder, image_shape, gallery, k, max_score_bytes):
        super().__init__(name="search_model")
        # The encoder itself is not an attribute: its Keras objects stay out of the
        # export, but its variables, also those without a gradient, must be in it.
        self.encoder_variables = [variable(weight) for weight in encoder.variables]
        self._encode = lambda images: encoder(images, training=False)
        self._image_shape = tuple(image_shape)
        self._k = int(k)
        self._max_scores = min(int(max_score_bytes) // 4, 2**31 - 1)

        def state(value, dtype, shape, name):
            value = tf.convert_to_tensor(value, dtype)
            return tf.Variable(value, trainable=False, shape=shape, name=name)

        names = ["", *gallery.class_names.tolist()]  # label -1 has the empty name
        rows = [None, gallery.dim]
        self.gallery_embeddings = state(
            gallery.embeddings, tf.float32, rows, "gallery_embeddings"
        )
        self.gallery_ids = state(gallery.ids, tf.string, [None], "gallery_ids")
        self.gallery_labels = state(gallery.labels, tf.int64, [None], "gallery_labels")
        self.label_names = state(names, tf.string, [None], "label_names")
        self.known_threshold = state(
            gallery.known_threshold, tf.float32, [], "known_threshold"
        )
        self.vote_temperature = state(
            gallery.vote_temperature, tf.float32, [], "vote_temperature"
        )
        self.vote_k = state(gallery.vote_k, tf.int32, [], "vote_k")

        images = tf.TensorSpec([None, *self._image_shape], tf.float32, "images")
        image_bytes = tf.TensorSpec([None], tf.string, "image_bytes")
        self.embed = tf.function(self._embed_images, input_signature=[images])
        self.embed_bytes = tf.function(self._embed_bytes, input_signature=[image_bytes])
        self.search_images = tf.function(self._search_images, input_signature=[images])
        self.search_bytes = tf.function(
            self._search_bytes, input_signature=[image_bytes]
        )

    @property
    def signatures(self):
        """Signature names and their functions, for `tf.saved_model.save`."""
        return {
            "serving_default": self.search_bytes,
            "search_bytes": self.search_bytes,
            "search_images": self.search_images,
            "embed_bytes": self.embed_bytes,
            "embed": self.embed,
        }

    def _embed_images(self, images):
        return self._embed(images, tf.fill([tf.shape(images)[0]], True))

    def _embed_bytes(self, image_bytes):
        return self._embed(*decode_images(image_bytes, self._image_shape))

    def _search_images(self, images):
        return self._search(**self._embed_images(images))

    def _search_bytes(self, image_bytes):
        return self._search(**self._embed_bytes(image_bytes))

    def _embed(self, images, valid):
        """Embeds the images that are finite and come out so; zero for the others."""
        finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
        valid = tf.logical_and(valid, finite)
        images = tf.where(valid[:, None, None, None], images, 0.0)
        embeddings = tf.cast(self._encode(images), tf.float32)
        finite = tf.reduce_all(tf.math.is_finite(embeddings), axis=1)
        valid = tf.logical_and(valid, finite)
        embeddings = tf.where(valid[:, None], embeddings, 0.0)
        return {"embeddings": embeddings, "valid": valid}

    def _search(self, embeddings, valid):
        scores, rows, winner, share = self._neighbors(embeddings)
        size = tf.shape(self.gallery_labels)[0]
        k = tf.minimum(self._k, size)
        scores, rows = scores[:, :k], rows[:, :k]
        row_valid = valid[:, None]
        labels = tf.gather(self.gallery_labels, rows)
        names = tf.gather(self.label_names, tf.maximum(labels, -1) + 1)
        vote = tf.gather(self.label_names, winner + 1)
        known = scores[:, 0] >= self.known_threshold
        return {
            "ids": tf.where(row_valid, tf.gather(self.gallery_ids, rows), ""),
            "labels": tf.where(row_valid, names, ""),
            "scores": tf.where(row_valid, scores, 0.0),
            "vote": tf.where(valid, vote, ""),
            "vote_probability": tf.where(valid, share, 0.0),
            "known": tf.logical_and(valid, known),
            "valid": valid,
        }

    def _neighbors(self, queries):
        """Scores, rows, vote and its share, a chunk of queries at a time."""
        size = tf.shape(self.gallery_labels)[0]
        batch = tf.shape(queries)[0]
        chunk = tf.clip_by_value(self._max_scores // size, 1, tf.maximum(batch, 1))
        count = tf.maximum((batch + chunk - 1) // chunk, 1)  # an empty batch: one
        classes = tf.maximum(tf.shape(self.label_names)[0] - 1, 1)
        columns = tf.minimum(tf.maximum(self._k, self.vote_k), size)
        shapes = (
            (tf.float32, [None, None]),
            (tf.int32, [None, None]),
            (tf.int64, [None]),
            (tf.float32, [None]),
        )
        arrays = [
            tf.TensorArray(dtype, count, infer_shape=False, element_shape=shape)
            for dtype, shape in shapes
        ]

        def search_chunk(index, arrays):
            start = index * chunk
            scores, rows = top_k_neighbors(
                queries[start : start + chunk], self.gallery_embeddings, columns
            )
            winner, share = weighted_vote(
                scores[:, : self.vote_k],
                tf.gather(self.gallery_labels, rows[:, : self.vote_k]),
                classes,
                self.vote_temperature,
            )
            found = (scores, rows, winner, share)
            return index + 1, [
                array.write(index, value) for array, value in zip(arrays, found)
            ]

        _, arrays = tf.while_loop(
            lambda index, arrays: index < count,
            search_chunk,
            [tf.constant(0), arrays],
            parallel_iterations=1,  # or several chunks' scores stand in memory at once
        )
        return [array.concat() for array in arrays]
