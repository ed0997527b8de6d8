"""The other side of `losses.py`: pytorch-metric-learning, in PyTorch.

    python benchmarks/losses_torch.py --help

Runs in an environment with PyTorch and pytorch-metric-learning and without TensorFlow.
It reads a message a line from its standard input, JSON, and answers each by a line:
`{"make": settings, ...}` makes a loss and takes one step, `{"steps": n}` takes n steps
and tells how long one took.
"""

import argparse
import json
import resource
import sys

import losses as ours


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-gb", type=float, default=10.0)
    return parser.parse_args(argv)


def built(module, given, dim, **more):
    """Makes an object of a module of the library from `name` or `[name, arguments]`."""
    name, arguments = (given, {}) if isinstance(given, str) else given
    arguments = {key: dim if v == "dim" else v for key, v in arguments.items()}
    return getattr(module, name)(**arguments, **more)


def step_of(settings, rows, per_class, dim):
    """Returns a step, as a function without arguments.

    Args:
        settings: Of `losses.pml`.
        rows: Of the batch.
        per_class: Rows of each class.
        dim: Of the embeddings.
    """
    import torch
    from pytorch_metric_learning import distances, losses, miners, reducers

    labels, embeddings = ours.batch(rows, per_class, dim)
    labels = torch.from_numpy(labels)
    embeddings = torch.from_numpy(embeddings).requires_grad_()
    more = {}
    if settings["distance"]:
        more["distance"] = built(distances, settings["distance"], dim)
    miner = None
    if settings["miner"]:
        fits = {} if settings["class"] == "MultiSimilarityLoss" else dict(more)
        miner = built(miners, settings["miner"], dim, **fits)
    if settings["reducer"]:
        more["reducer"] = built(reducers, settings["reducer"], dim)
    loss = built(losses, [settings["class"], settings["arguments"]], dim, **more)
    weights = list(loss.parameters())

    def step():
        for value in (embeddings, *weights):
            value.grad = None
        mined = None if miner is None else miner(embeddings, labels)
        loss(embeddings, labels, mined).backward()

    return step


def main(argv=None):
    """Answers messages until there are no more."""
    options = parse(argv)
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    limit = int(options.memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print("ready", flush=True)
    step = None
    for line in sys.stdin:
        message = json.loads(line)
        answer = {}
        if "make" in message:
            step = None
            try:
                step = step_of(message.pop("make"), **message)
                step()
            except (MemoryError, RuntimeError) as error:
                if "memory" not in str(error) and not isinstance(error, MemoryError):
                    raise
                answer["refused"] = True
        else:
            answer["seconds"] = ours.timed(step, message["steps"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
