"""Refuses what a stock TensorFlow server cannot run, or should not."""

import re
from pathlib import Path

# What a server has no Python for, what reads or writes its files at each request, and
# what writes to its log.
_REFUSED = re.compile(
    "|".join(
        (
            r"(Eager)?PyFunc(Stateless)?",
            r"(ReadFile|WriteFile|MatchingFiles|FileSystemSetConfiguration)",
            r"(WholeFile|TextLine|TFRecord|FixedLengthRecord|LMDB|Identity)Reader(V2)?",
            r"(Experimental)?(TextLine|TFRecord|FixedLengthRecord|CSV|Sql|LMDB|"
            r"MatchingFiles|Snapshot|Generator|Load|Save|DataService)Dataset(V[2-4])?",
            r"(Print|PrintV2|TensorSummary|WriteSummary|Write\w+Summary)",
            r"Xla(Launch|Run|Compile).*",
        )
    )
)


def check_stock_ops(saved_model_dir):
    """Checks every node of a SavedModel, those of its function library too.

    An op that TensorFlow does not have of its own, such as those that
    tensorflow-addons, tensorflow-text or ScaNN register when they are imported, is
    refused as well: `tf.raw_ops` lists its own, whatever else was imported.

    Args:
        saved_model_dir: Folder of the SavedModel.

    Raises:
        ValueError: Naming each refused op and its place.
    """
    found = [f"{what} {where}" for what, where in _refused(saved_model_dir)]
    if found:
        listed = "; ".join(found[:5]) + ("; ..." if len(found) > 5 else "")
        raise ValueError(
            "The model must consist of ops that a stock TensorFlow server runs: no "
            "Python functions, no files, no printing, no `jit_compile`, no op of "
            "another package. "
            f"Received: {listed}. "
            "Take the layer that makes it out of the encoder, or write it in tf ops."
        )


def _refused(saved_model_dir):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    stock = frozenset(dir(tf.raw_ops))
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((Path(saved_model_dir) / "saved_model.pb").read_bytes())
    for meta_graph in model.meta_graphs:
        graph = meta_graph.graph_def
        # A node may call a function by the function's name.
        known = stock | {each.signature.name for each in graph.library.function}
        yield from _refused_nodes(graph.node, "in the main graph", known)
        for function in graph.library.function:
            place = f"in function {function.signature.name!r}"
            if function.attr["_XlaMustCompile"].b:
                yield "jit_compile=True", place
            yield from _refused_nodes(function.node_def, place, known)


def _refused_nodes(nodes, place, known):
    for node in nodes:
        if _REFUSED.fullmatch(node.op):
            yield node.op, f"at node {node.name!r} {place}"
        elif "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b:
            yield "jit_compile=True", f"at node {node.name!r} {place}"
        elif node.op not in known and not node.op.startswith("_"):
            yield (
                f"{node.op}, which is not TensorFlow's own,",
                (f"at node {node.name!r} {place}"),
            )
