"""The client for `asyncio`: the same questions, awaited."""

import asyncio
import concurrent.futures
import functools
import inspect

from tfembed.ops.arguments import as_count
from tfembed.serving.methods import ClientMethods, whole
from tfembed.serving.plans import Call, Part, Pause, Turn

_THREADS = 32


def _awaited(client):
    """Makes coroutine functions of the methods that answer: mocks look for those."""

    def coroutine(method):
        @functools.wraps(method)
        async def ask(self, *arguments, **options):
            return await method(self, *arguments, **options)

        return ask

    for name, method in inspect.getmembers(ClientMethods, inspect.isfunction):
        if not name.startswith("_") and not name.endswith("_many"):
            setattr(client, name, coroutine(method))
    return client


@_awaited
class AsyncClient(ClientMethods):
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

    >>> import asyncio
    >>> from tfembed.serving import AsyncClient, ServerUnavailable
    >>> async def status():
    ...     async with AsyncClient("http://localhost:1", retries=0) as client:
    ...         return await client.status()
    >>> try:
    ...     asyncio.run(status())
    ... except ServerUnavailable as error:
    ...     print(error.code)
    UNAVAILABLE

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
        super().__init__(
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
        self._concurrency = as_count("concurrency", concurrency)
        self._threads = concurrent.futures.ThreadPoolExecutor(
            max(_THREADS, self._concurrency), "tfembed"
        )
        # They belong to the event loop that they are made in.
        self._transport = self._turns = None

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
        (answer,) = [part async for part in self._parts(whole(plan))]
        return answer

    async def _rows(self, plan):
        async for part in self._parts(plan):
            for row in range(len(part)):
                yield part[row]

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
