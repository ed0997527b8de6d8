"""Inputs of other shapes are refused, by the graph itself and by the local server."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from pixel_model import DIM, SHAPE, gallery

from tfembed.export import native
from tfembed.export.query_options import nothing_asked
from tfembed.serving import LocalServer
from tfembed.serving.address import ModelSpec
from tfembed.serving.grpc_transport import GrpcTransport
from tfembed.serving.status import StatusError

# Asks as TF Serving does, which compares no shapes: by TensorFlow's C API.
_ASK = """
import importlib.util, pickle, sys
spec = importlib.util.spec_from_file_location("native", sys.argv[1])
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
model, said = native.NativeModel(sys.argv[2]), []
for signature, inputs in pickle.load(sys.stdin.buffer):
    try:
        answer = model(signature, inputs)
        said.append({name: value.shape for name, value in answer.items()})
    except RuntimeError as error:
        said.append(str(error))
sys.stdout.buffer.write(pickle.dumps(said))
"""
_ONE_OF_EACH = "embed", "search_images", "search", "embed_bytes", "score_lines"
_FILTERS = "allow_ids", "exclude_ids", "allow_labels", "exclude_labels"


def text(*shape):
    return np.full(shape, b"", object)


@pytest.fixture(
    params=["some", pytest.param("all", marks=pytest.mark.slow)], scope="module"
)
def cases(request):
    """(signature, its inputs, and of the refusal: name, wanted, received)."""
    whole = request.param == "all"
    return [case for case in _cases() if whole or case[0] in _ONE_OF_EACH]


def _cases():
    queries = gallery().embeddings[:2]
    lists = dict.fromkeys(_FILTERS, text(2, 1))
    lines = dict.fromkeys(_FILTERS, text(2))
    for signature in ("embed", "search_images"):
        for shape in (
            (2, 3, 5, 1),
            (2, 4, 2, 1),
            (2, 2, 4, 3),
            (2, 4, 1),
            (0, 3, 4, 1),
        ):
            images = np.ones(shape, np.float32)
            yield signature, {"images": images}, "images", (*SHAPE,), shape
    for shape in ((2, DIM + 1), (DIM,), (2, 1, DIM)):
        wrong = {"embeddings": np.ones(shape, np.float32)}
        yield "search", wrong, "embeddings", (DIM,), shape
    for signature in ("search_bytes", "embed_bytes", "serving_default"):
        yield signature, {"image_bytes": text(2, 3)}, "image_bytes", (), (2, 3)
    yield "classify", {"inputs": text(2, 3)}, "inputs", (), (2, 3)
    for name, more, many, one in (
        ("search_filtered", lists, (2, 2, 1), (1, 1)),
        ("search_filtered_lines", lines, (2, 2), (1,)),
    ):
        for suffix, given in (("embeddings", queries), ("image_bytes", text(2))):
            as_bytes = "_bytes" if suffix == "image_bytes" else ""
            signature = name.replace("filtered", f"filtered{as_bytes}")
            for key in _FILTERS:
                inputs = {suffix: given, **more}
                wanted = () if "lines" in name else ("any",)
                yield signature, {**inputs, key: text(*many)}, key, wanted, many
                yield signature, {**inputs, key: text(*one)}, key, suffix, (1, 2)
    nothing = nothing_asked(2, DIM)
    for key, value in nothing.items():
        wanted = (DIM,) if key == "embeddings" else ()
        many = np.stack([value, value])
        yield "query", {**nothing, key: many}, key, wanted, many.shape
        if key != "image_bytes":
            yield "query", {**nothing, key: value[:1]}, key, "image_bytes", (1, 2)
    for signature, many, one in (
        ("score", (2,), (1, 1)),
        ("score_lines", (2, 1), (1,)),
    ):
        inputs = {"embeddings": queries}
        wanted = () if "lines" in signature else ("any",)
        yield signature, {**inputs, "ids": text(*many)}, "ids", wanted, many
        yield signature, {**inputs, "ids": text(*one)}, "ids", "embeddings", (1, 2)


def sentence(name, wanted, received):
    """What the graph says."""
    if isinstance(wanted, str):
        rows = " and ".join(map(str, received))
        return f"`{name}` must have as many rows as {wanted}. Received: {rows}."
    sides = ", ".join(["batch", *map(str, wanted)]) + ("" if wanted else ",")
    listed = ", ".join(map(str, received))
    return f"`{name}` must have the shape ({sides}). Received: ({listed})."


def test_the_graph_refuses_them(pixels, cases):
    if not native.find_libraries():
        pytest.skip("this TensorFlow has no C API")
    asked = [case[:2] for case in cases]
    good = ("embed", {"images": np.ones((2, *SHAPE), np.float32)})
    process = subprocess.run(
        [sys.executable, "-c", _ASK, native.__file__, str(pixels / "new/1")],
        input=pickle.dumps([good, *asked, good]),
        capture_output=True,
        check=True,
        timeout=300,
    )
    first, *said, last = pickle.loads(process.stdout)
    assert first == last == {"embeddings": (2, DIM), "valid": (2,)}
    for (signature, _, *wanted), answer in zip(cases, said):
        assert isinstance(answer, str), (signature, answer)
        assert sentence(*wanted) in answer, signature


def test_the_local_server_refuses_them_alike(pixels, cases):
    def fail(code, detail):
        return StatusError(code, detail)

    with LocalServer(pixels / "new", port=0, rest_port=0) as server:
        transport = GrpcTransport(server.grpc_address, fail)
        for signature, inputs, name, wanted, received in cases:
            with pytest.raises(StatusError) as caught:
                question = ModelSpec("model"), signature, inputs
                transport.call("predict", *question, timeout=60)
            assert caught.value.code == "INVALID_ARGUMENT"
            said = caught.value.message
            if isinstance(wanted, str):  # the graph's own words
                assert sentence(name, wanted, received) in said
            else:
                shown = ",".join(
                    ["?", *("?" if s == "any" else str(s) for s in wanted)]
                )
                got = ",".join(map(str, received))
                assert f"{name} must have shape [{shown}], but [{got}]" in said
        transport.close()
