"""The client for `asyncio`: the same questions, awaited."""

import asyncio
import concurrent.futures

from tfembed.serving.client import load_protocol
from tfembed.serving.plans import Call, Part, Pause, Turn
from tfembed.serving.questions import DEFAULT_SIGNATURE, Questions, check_count

_THREADS = 32


class AsyncClient:
    """Asks a TF Serving, or the local server, without blocking the event loop.

    ```python
    async with AsyncClient("localhost:8500") as client:
        first, second = await asyncio.gather(
            client.search("a.png"), client.search("b.png")
        )
    ```

    The methods are `Client`'s, with the same arguments, results and errors, awaited;
    `embed_many` and `search_many` are asynchronous iterators. gRPC is asynchronous all
    the way; REST requests, and the reading of files, run in threads of the client. A
    REST request under way goes on to its end when the task that awaits it is cancelled.

    However many questions are awaited at once, no more than `concurrency` requests are
    under way; the others wait for their turn, in the order in which they came.

    Use a client in one event loop only.

    Args:
        address: As `Client`.
        name: As `Client`.
        version: As `Client`.
        timeout: As `Client`.
        batch_size: As `Client`.
        label: As `Client`.
        retries: As `Client`.
        batch_megabytes: As `Client`.
        max_megapixels: As `Client`.
        concurrency: The most requests that are under way at a time, pauses between
            their attempts included. `timeout` runs from a request's turn on. A server
            has only so many threads: TF Serving refuses callers beyond 4 for each CPU
            unless it was started with more.

    Raises:
        ImportError: If the package that speaks the protocol is missing.
        ValueError: If an argument makes no sense.
    """

    def __init__(
        self,
        address,
        name="model",
        version=None,
        timeout=30.0,
        batch_size=32,
        *,
        label=None,
        retries=3,
        batch_megabytes=32.0,
        max_megapixels=64.0,
        concurrency=32,
    ):
        self._questions = Questions(
            address,
            name=name,
            version=version,
            label=label,
            timeout=timeout,
            retries=retries,
            batch_size=batch_size,
            batch_megabytes=batch_megabytes,
            max_megapixels=max_megapixels,
        )
        self.address = address
        self.name = name
        self.version = version
        self.label = label
        self._concurrency = check_count("concurrency", concurrency, 1)
        self._threads = concurrent.futures.ThreadPoolExecutor(
            max(_THREADS, self._concurrency), "tfembed"
        )
        self._protocol = load_protocol(self._questions.protocol)
        # They belong to the event loop that they are made in.
        self._transport = self._turns = None

    async def embed(self, images, *, progress=None):
        """Returns `Embeddings`; see `Client.embed`."""
        return await self._together(self._questions.embed(images, progress))

    async def search(
        self, images, k=None, *, min_score=None, per_label=None, progress=None
    ):
        """Returns a `SearchResult`; see `Client.search`."""
        options = {"min_score": min_score, "per_label": per_label}
        return await self._together(
            self._questions.search(images, k, options, progress)
        )

    async def search_embeddings(
        self, embeddings, k=None, *, min_score=None, per_label=None, progress=None
    ):
        """Returns a `SearchResult`; see `Client.search_embeddings`."""
        options = {"min_score": min_score, "per_label": per_label}
        return await self._together(
            self._questions.search_embeddings(embeddings, k, options, progress)
        )

    async def search_filtered(
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
        """Returns a `SearchResult`; see `Client.search_filtered`."""
        filters = {
            "allow_ids": allow_ids,
            "exclude_ids": exclude_ids,
            "allow_labels": allow_labels,
            "exclude_labels": exclude_labels,
        }
        options = {"min_score": min_score, "per_label": per_label}
        return await self._together(
            self._questions.search_filtered(
                images, k, embeddings, filters, options, progress
            )
        )

    async def search_like(
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
        """Returns a `SearchResult` of one row; see `Client.search_like`."""
        return await self._together(
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

    async def score(self, ids, images=None, *, embeddings=None, progress=None):
        """Returns `Scores`; see `Client.score`."""
        return await self._together(
            self._questions.score(ids, images, embeddings, progress)
        )

    async def classify(self, images, signature_name="classify", *, progress=None):
        """Returns a `Classification`; see `Client.classify`."""
        return await self._together(
            self._questions.classify(images, signature_name, progress)
        )

    async def embed_many(self, images, *, progress=None):
        """Yields the `Embeddings` of each image; see `Client.embed_many`."""
        async for part in self._parts(self._questions.embed(images, progress)):
            for row in range(len(part)):
                yield part[row]

    async def search_many(
        self, images, k=None, *, min_score=None, per_label=None, progress=None
    ):
        """Yields the `SearchResult` of each image; see `Client.search_many`."""
        options = {"min_score": min_score, "per_label": per_label}
        plan = self._questions.search(images, k, options, progress)
        async for part in self._parts(plan):
            for row in range(len(part)):
                yield part[row]

    async def predict(self, inputs, signature_name=DEFAULT_SIGNATURE, *, retry=None):
        """Returns a dictionary of arrays; see `Client.predict`."""
        plan = self._questions.predict(inputs, signature_name, retry)
        return await self._answer(plan)

    async def metadata(self):
        """Returns the `ModelMetadata`; see `Client.metadata`."""
        return await self._answer(self._questions.metadata())

    async def status(self):
        """Returns a list of `VersionStatus`; see `Client.status`."""
        return await self._answer(self._questions.status())

    async def card(self):
        """Returns a dictionary; see `Client.card`."""
        return await self._answer(self._questions.card())

    async def close(self):
        """Closes the connection."""
        if self._transport is not None:
            await self._transport.close()
        self._threads.shutdown(wait=False)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await self.close()

    async def _together(self, plan):
        parts = [part async for part in self._parts(plan)]
        return self._questions.joined(parts)

    async def _answer(self, plan):
        def whole():
            yield Part((yield from plan))

        (answer,) = [part async for part in self._parts(whole())]
        return answer

    async def _parts(self, plan):
        """Takes the steps of a plan, and yields its parts."""
        act, given, turn = plan.send, None, None
        try:
            while True:
                try:
                    step = await self._run(_step, act, given)
                finally:
                    act, given = plan.send, None
                if turn is not None and not isinstance(step, (Call, Pause)):
                    turn.release()
                    turn = None
                if step is None:
                    return
                if isinstance(step, Part):
                    yield step.value
                elif isinstance(step, Turn):
                    await self._turn().acquire()
                    turn = self._turn()
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                else:
                    try:
                        given = await self._connected().call(
                            step.method, *step.arguments, timeout=step.timeout
                        )
                    except Exception as error:
                        act, given = plan.throw, error
        finally:
            if turn is not None:
                turn.release()

    def _turn(self):
        """Returns the semaphore of the requests under way."""
        if self._turns is None:
            self._turns = asyncio.Semaphore(self._concurrency)
        return self._turns

    def _connected(self):
        if self._transport is None:
            target, fail = self._questions.target, self._questions.fail
            if self._questions.protocol == "rest":
                transport = self._protocol.RestTransport(
                    target, fail, max(_THREADS, self._concurrency)
                )
                self._transport = _InThreads(transport, self._run)
            else:
                self._transport = self._protocol.AsyncGrpcTransport(target, fail)
        return self._transport

    async def _run(self, function, *arguments):
        """Runs what may block in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)


class _InThreads:
    """A transport of `Client`, awaited."""

    def __init__(self, transport, run):
        self._transport = transport
        self._run = run

    async def call(self, *arguments, timeout):
        return await self._run(
            lambda: self._transport.call(*arguments, timeout=timeout)
        )

    async def close(self):
        self._transport.close()


def _step(act, given):
    """Returns the next step of a plan, or None: a future holds no StopIteration."""
    try:
        return act(given)
    except StopIteration:
        return None
