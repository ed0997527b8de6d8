"""The other side of `nce.py`: the gather-and-bmm formulation, in PyTorch.

    python benchmarks/nce_torch.py --size 100000 --repetitions 3

How NCE for instance discrimination is usually written in PyTorch: the own row of each
anchor and its m noise rows are gathered from the bank as `(batch, 1 + m, dim)`, scored
by one `bmm`, and autograd does the rest. Z is constant. Runs in an environment with
PyTorch and without TensorFlow; prints one line of JSON: seconds of each step.

It stays alive between steps: `nce.py` writes a line to its standard input for each.
"""

import argparse
import json
import math
import sys
import time


def parse(argv=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1281167, help="rows of the bank")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--num-negatives", type=int, default=4096)
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--check", metavar="NPZ", help="compute on these arrays instead"
    )
    parser.add_argument("--wait", action="store_true", help="a step for each line read")
    return parser.parse_args(argv)


def loss_of(embeddings, bank, own, noise, temperature, log_z):
    """Returns the mean NCE loss.

        p(s) = exp(s) / Z            h(s) = p(s) / (p(s) + m / n)
        loss = -log h(own) - sum{ log(1 - h(s)) : noise }

    Args:
        embeddings: `(batch, dim)`.
        bank: `(n, dim)`.
        own: `(batch,)`, rows of the anchors.
        noise: `(batch, m)`, rows of their negatives.
        temperature: Divides the similarities.
        log_z: Logarithm of Z.
    """
    import torch

    rows = torch.cat([own[:, None], noise], dim=1)
    weights = torch.index_select(bank, 0, rows.reshape(-1))
    weights = weights.view(*rows.shape, -1)
    scores = torch.bmm(weights, embeddings[:, :, None])[:, :, 0] / temperature
    scores = scores - log_z - math.log(noise.shape[1] / len(bank))
    softplus = torch.nn.functional.softplus
    return (softplus(-scores[:, 0]) + softplus(scores[:, 1:]).sum(dim=1)).mean()


def check(options):
    """Prints loss and gradient on given arrays."""
    import numpy as np
    import torch

    arrays = {k: torch.from_numpy(v) for k, v in np.load(options.check).items()}
    embeddings = arrays.pop("embeddings").requires_grad_()
    log_z = float(arrays.pop("log_z"))
    loss = loss_of(embeddings, temperature=options.temperature, log_z=log_z, **arrays)
    loss.backward()
    gradient = embeddings.grad.tolist()
    print(json.dumps({"loss": loss.item(), "gradient": gradient}))


def main(argv=None):
    """Times steps on random rows."""
    options = parse(argv)
    if options.check:
        check(options)
        return
    import torch

    torch.manual_seed(0)
    shape = options.size, options.dim
    bank = torch.nn.functional.normalize(torch.randn(shape))
    embeddings = torch.nn.functional.normalize(
        torch.randn(options.batch_size, shape[1])
    )
    embeddings.requires_grad_()
    own = torch.randint(options.size, (options.batch_size,))
    # As the layer's normalizer='analytic': fits random rows.
    log_z = math.log(options.size) + 1 / (2 * options.dim * options.temperature**2)

    def step():
        start = time.perf_counter()
        noise = torch.randint(options.size, (options.batch_size, options.num_negatives))
        embeddings.grad = None
        loss_of(embeddings, bank, own, noise, options.temperature, log_z).backward()
        return time.perf_counter() - start

    step()
    if options.wait:
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps(step()), flush=True)
    else:
        print(json.dumps([step() for _ in range(options.repetitions)]))


if __name__ == "__main__":
    main()
