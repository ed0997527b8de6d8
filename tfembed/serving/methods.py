"""What both clients can be asked; each has its own way to wait for an answer."""

import importlib

from tfembed.serving.plans import Part
from tfembed.serving.questions import DEFAULT_SIGNATURE, Questions


class ClientMethods:
    """The methods of a client; how the plans behind them are taken is its own.

    A client has `_together(plan)`, which returns the parts of an answer as one,
    `_answer(plan)`, which returns what a plan without parts returns, and `_rows(plan)`,
    which iterates over the rows of the parts; `Client`'s return the answer,
    `AsyncClient`'s something to await.

    Args:
        address: As `Client`.
        **options: As `Client`; the defaults are the clients'.
    """

    def __init__(self, address, **options):
        self._questions = Questions(address, **options)
        self._protocol = load_protocol(self._questions.protocol)
        self.address = address
        self.name = options["name"]
        self.version = options["version"]
        self.label = options["label"]

    def embed(self, images, *, progress=None):
        """Returns the embeddings of images.

        Args:
            images: Images, see `Client`.
            progress: True for a line on standard error that tells how many are done, or
                a function of `(done, total)`; the total is None where it is unknown.

        Returns:
            `Embeddings`, one row an image.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If `images` is something else.
            ValueError: If a file cannot be read, or an array does not fit.
        """
        return self._together(self._questions.embed(images, progress))

    def search(self, images, k=None, *, min_score=None, per_label=None, progress=None):
        """Returns the nearest neighbours of images.

        With `min_score` or `per_label`, arrays of pixels take two requests a batch, and
        an export is needed that has the signature `query`.

        Args:
            images: Images, see `Client`.
            k: How many neighbours, at most as many as the model was exported with.
                None gives them all.
            min_score: From -1 to 1: rows of lower scores do not count, neither as
                neighbours nor for the vote. None: all do.
            per_label: The most neighbours of one label, exactly: where a label has
                enough, the nearest of others follow, however far down they stand. Rows
                without a label are not limited, and the vote counts the nearest rows
                all the same. None: any number.
            progress: As for `embed`.

        Returns:
            `SearchResult`, one row an image.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If `images` is something else.
            ValueError: If a file cannot be read, an array does not fit, an option is
                out of range, or there are not `k` neighbours.
        """
        options = {"min_score": min_score, "per_label": per_label}
        return self._together(self._questions.search(images, k, options, progress))

    def search_embeddings(
        self, embeddings, k=None, *, min_score=None, per_label=None, progress=None
    ):
        """Returns the nearest neighbours of embeddings.

        Args:
            embeddings: float `(batch, d)`, or `(d,)` for one, of any length but 0; a
                row of length 0 or with a number that is not finite is not valid.
            k: As for `search`.
            min_score: As for `search`.
            per_label: As for `search`.
            progress: As for `embed`.

        Returns:
            `SearchResult`, one row an embedding.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If `embeddings` is no array of numbers.
            ValueError: If it has another shape, or there are not `k` neighbours.
        """
        options = {"min_score": min_score, "per_label": per_label}
        return self._together(
            self._questions.search_embeddings(embeddings, k, options, progress)
        )

    def search_filtered(
        self,
        images=None,
        k=None,
        *,
        embeddings=None,
        allow_ids=None,
        exclude_ids=None,
        allow_labels=None,
        exclude_labels=None,
        min_score=None,
        per_label=None,
        progress=None,
    ):
        """Returns the nearest neighbours among some rows of the gallery, exactly.

        The vote, `known` and all else is of those rows alone. Ids and labels that the
        gallery does not have are passed over. Each filter is a list of strings for all
        queries, or a list with one entry a query, each a list of strings or None.

        Args:
            images: Images, see `Client`; or None with `embeddings`. Arrays of pixels
                take two requests a batch, the others one.
            k: As for `search`.
            embeddings: As for `search_embeddings`, instead of images.
            allow_ids: Only rows with these ids; None allows all.
            exclude_ids: No rows with these ids.
            allow_labels: Only rows of these classes; None allows all.
            exclude_labels: No rows of these classes.
            min_score: As for `search`.
            per_label: As for `search`.
            progress: As for `embed`.

        Returns:
            `SearchResult`, one row a query.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If an argument is something else.
            ValueError: As `search`; or if a list of what is allowed is empty, or there
                are not as many lists as queries.
        """
        filters = {
            "allow_ids": allow_ids,
            "exclude_ids": exclude_ids,
            "allow_labels": allow_labels,
            "exclude_labels": exclude_labels,
        }
        options = {"min_score": min_score, "per_label": per_label}
        return self._together(
            self._questions.search_filtered(
                images, k, embeddings, filters, options, progress
            )
        )

    def search_like(
        self,
        k=None,
        *,
        positive_ids=None,
        negative_ids=None,
        positive_embeddings=None,
        negative_embeddings=None,
        positive_images=None,
        negative_images=None,
        negative_weight=0.5,
        min_score=None,
        per_label=None,
        allow_ids=None,
        exclude_ids=None,
        allow_labels=None,
        exclude_labels=None,
    ):
        """Returns the nearest neighbours of several examples: one question.

        It is searched with the direction of

            mean(positives) - negative_weight * mean(negatives)

        of embeddings of length 1: Rocchio's formula. Rows of the gallery that are
        examples, by id, are not found. There are at most 64 examples, positive and
        negative together; one that is given twice counts twice.

        Args:
            k: As for `search`.
            positive_ids: Rows of the gallery that it is to be like.
            negative_ids: Rows of the gallery that it is not to be like.
            positive_embeddings: float `(m, d)`, or `(d,)` for one, of any length but 0.
            negative_embeddings: The same.
            positive_images: Images, see `Client`, which are embedded first.
            negative_images: The same.
            negative_weight: From 0 to 1.
            min_score: As for `search`.
            per_label: As for `search`.
            allow_ids: As for `search_filtered`.
            exclude_ids: As for `search_filtered`.
            allow_labels: As for `search_filtered`.
            exclude_labels: As for `search_filtered`.

        Returns:
            `SearchResult` of one row.

        Raises:
            ServingError: If the server does not answer as asked; `InvalidRequest` where
                the gallery does not have an id, or the examples cancel each other out.
            TypeError: If an argument is something else.
            ValueError: If there is no positive example, too many, or one that cannot be
                read; or as `search_filtered`.
        """
        return self._together(
            self._questions.search_like(
                k,
                {"positive": positive_ids, "negative": negative_ids},
                {"positive": positive_embeddings, "negative": negative_embeddings},
                {"positive": positive_images, "negative": negative_images},
                negative_weight,
                {"min_score": min_score, "per_label": per_label},
                {
                    "allow_ids": allow_ids,
                    "exclude_ids": exclude_ids,
                    "allow_labels": allow_labels,
                    "exclude_labels": exclude_labels,
                },
            )
        )

    def score(self, ids, images=None, *, embeddings=None, progress=None):
        """Returns the similarities of images to given rows of the gallery.

        Args:
            ids: List of ids for all queries, or one list for each query (shorter ones
                are padded).
            images: Images, see `Client`; or None with `embeddings`. Two requests a
                batch.
            embeddings: As for `search_embeddings`, instead of images.
            progress: As for `embed`.

        Returns:
            `Scores`, one row a query, one column an id.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If an argument is something else.
            ValueError: As `search`, or if there are not as many lists as queries.
        """
        return self._together(self._questions.score(ids, images, embeddings, progress))

    def classify(self, images, signature_name="classify", *, progress=None):
        """Returns the classes of images, by TF Serving's Classify.

        Args:
            images: Images, see `Client`. Arrays must hold whole numbers: they are sent
                as PNG files.
            signature_name: Name of the signature.
            progress: As for `embed`.

        Returns:
            `Classification`, one row an image.

        Raises:
            ServingError: If the server does not answer as asked.
            TypeError: If `images` is something else.
            ValueError: As `embed`.
        """
        return self._together(
            self._questions.classify(images, signature_name, progress)
        )

    def embed_many(self, images, *, progress=None):
        """Yields the `Embeddings` of each image, one at a time; as `embed`.

        Memory holds one batch. Nothing is sent before the first is asked for.
        """
        return self._rows(self._questions.embed(images, progress))

    def search_many(
        self, images, k=None, *, min_score=None, per_label=None, progress=None
    ):
        """Yields the `SearchResult` of each image, one at a time; as `search`.

        Memory holds one batch. Nothing is sent before the first is asked for.
        """
        options = {"min_score": min_score, "per_label": per_label}
        return self._rows(self._questions.search(images, k, options, progress))

    def predict(self, inputs, signature_name=DEFAULT_SIGNATURE, *, retry=None):
        """Runs any signature of the model, in one request.

        Args:
            inputs: Dictionary of input name to array, or to list of bytes or `str`.
            signature_name: Name of the signature.
            retry: Whether it may be sent again. None: the signatures of an export may,
                others, which may do something each time, not.

        Returns:
            Dictionary of output name to array; strings are `str`.

        Raises:
            ServingError: If the server does not answer as asked.
        """
        return self._answer(self._questions.predict(inputs, signature_name, retry))

    def metadata(self):
        """Returns the `ModelMetadata`: the signatures of the model.

        Raises:
            ServingError: If the server does not answer as asked.
        """
        return self._answer(self._questions.metadata())

    def status(self):
        """Returns a list of `VersionStatus`: of the pinned number, or of all versions.

        Raises:
            ServingError: If the server does not answer as asked.
        """
        return self._answer(self._questions.status())

    def card(self):
        """Returns what the export says of itself: `card.json`, a dictionary.

        TF Serving does not serve that file, in either protocol; the local server does,
        over REST.

        Raises:
            ServingError: If the server does not answer as asked, with the code
                UNIMPLEMENTED where cards are not served.
        """
        return self._answer(self._questions.card())


def whole(plan):
    """Plans what another plan does, whose answer is the only `Part`."""
    yield Part((yield from plan))


def load_protocol(protocol):
    """Imports the module that speaks a protocol, `"grpc"` or `"rest"`.

    Raises:
        ImportError: If a package is missing.
    """
    try:
        return importlib.import_module(f"tfembed.serving.{protocol}_transport")
    except ImportError as error:
        raise ImportError(
            f"The client needs a package that is missing ({error}). Install it with "
            '`pip install "tfembed[serving]"`.'
        ) from error
