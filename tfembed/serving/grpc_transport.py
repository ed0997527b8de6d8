"""Speaks TF Serving's gRPC for `Client`, and, awaited, for `AsyncClient`."""

import grpc

from tfembed.serving.grpc_messages import (
    READERS,
    WRITERS,
    Stubs,
    channel_options,
    code_and_detail,
)

_NO_CARD = (
    "a model's card has no place in TF Serving's gRPC. Give the REST address of the "
    "local server, or read card.json in the version's folder"
)


class GrpcTransport:
    """One channel to a server; threads may share it.

    Args:
        target: `"host:port"`.
        fail: Function of `(code, detail)` that returns the exception to raise.
    """

    def __init__(self, target, fail):
        self._fail = fail
        self._channel = grpc.insecure_channel(target, options=channel_options(target))
        self._stubs = Stubs(self._channel)

    def close(self):
        """Closes the channel."""
        self._channel.close()

    def call(self, method, spec, *arguments, timeout):
        """Asks the server.

        Args:
            method: One of `WRITERS`, or `"card"`.
            spec: The `ModelSpec`.
            *arguments: What else the method's writer takes.
            timeout: Seconds the answer may take.

        Returns:
            What the method's reader makes of the answer.
        """
        if method == "card":
            raise self._fail("UNIMPLEMENTED", _NO_CARD)
        request = WRITERS[method](spec, *arguments)
        try:
            response = getattr(self._stubs, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._fail(*code_and_detail(error)) from error
        return READERS[method](spec, response)


class AsyncGrpcTransport:
    """As `GrpcTransport`, awaited, in the event loop that it was made in."""

    def __init__(self, target, fail):
        self._fail = fail
        self._channel = grpc.aio.insecure_channel(
            target, options=channel_options(target)
        )
        self._stubs = Stubs(self._channel)

    async def close(self):
        """Closes the channel."""
        await self._channel.close()

    async def call(self, method, spec, *arguments, timeout):
        """Asks the server; see `GrpcTransport.call`."""
        if method == "card":
            raise self._fail("UNIMPLEMENTED", _NO_CARD)
        request = WRITERS[method](spec, *arguments)
        try:
            response = await getattr(self._stubs, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._fail(*code_and_detail(error)) from error
        return READERS[method](spec, response)
