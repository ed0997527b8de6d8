"""Finds the weights of a network in what a PyTorch file holds, whoever wrote it.

Where the dictionary is nested, its `state_dict`, `model`, `teacher` or `student` is
looked into (a DINO checkpoint has both of the last; the teacher is what is used). Then
prefixes come off, which training wrappers put before the names: `module.` of parallel
training, `backbone.` of lightly and DINO, `encoder_q.` of MoCo. lightly's backbone is
torchvision's network as a row of layers, so that its names are numbers.

What is wanted must all be there, and nothing of another network: only what follows the
last feature map, or stands beside the network, is left out, and named.
"""

import re

from tfembed.backbones.torch_file import Placeholder, StoredTensor

__all__ = ["find_state_dict", "match_names"]

_NESTED = ("state_dict", "model", "teacher", "student")
_PREFIXES = ("module.", "backbone.", "encoder_q.")
_LIGHTLY_RESNET = {
    "0.": "conv1.",
    "1.": "bn1.",
    "4.": "layer1.",
    "5.": "layer2.",
    "6.": "layer3.",
    "7.": "layer4.",
}
_SHOWN = 6


def find_state_dict(found, path):
    """Returns the dictionary of names and tensors in what a file holds.

    Raises:
        ValueError: If there is none.
    """
    looked = []
    for _ in range(len(_NESTED) + 1):
        if not isinstance(found, dict):
            break
        inner = next((key for key in _NESTED if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = found[inner]
        looked.append(inner)
    names = []
    if isinstance(found, dict):
        names = [key for key, value in found.items() if type(key) is str]
        if any(isinstance(found[name], StoredTensor) for name in names):
            return {name: found[name] for name in names}
    raise ValueError(
        f"{path!r} must hold a state_dict, names with their tensors, at the top or in "
        f"{', '.join(_NESTED)}. Received: {_what(found, names, looked)}. Save one in "
        "PyTorch with torch.save(model.state_dict(), FILE)."
    )


def _what(found, names, looked):
    where = "".join(f" in {each}" for each in looked)
    if isinstance(found, Placeholder):
        return f"a pickled {found.qualified_name}{where}"
    if isinstance(found, dict):
        return f"a dictionary of {_some(names) or 'nothing'}{where}"
    return f"a {type(found).__name__}{where}"


def match_names(state, wanted, path, network):
    """Finds every wanted tensor under whatever name the file has for it.

    Args:
        state: `{name: StoredTensor}`, as of `find_state_dict`.
        wanted: `{torchvision's name: shape}`.
        path: The file, for an error.
        network: What the weights are for, for an error.

    Returns:
        `({torchvision's name: StoredTensor}, names left out)`.

    Raises:
        ValueError: If something is missing, has another shape, is no tensor, or belongs
            to another network.
    """
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    renamed, left_out = max(
        _readings(state), key=lambda reading: sum(name in wanted for name in reading[0])
    )
    found = {name: renamed[name] for name in wanted if name in renamed}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(
            f"{path!r} must hold all weights of {network}, in torchvision's layout. "
            f"Received: {len(missing)} of {len(wanted)} missing, {_some(missing)}; it "
            f"has {_some(list(state)) or 'none'}. Give the file of that network."
        )
    tops = {name.split(".")[0] for name in wanted}
    foreign = [n for n in renamed if n not in wanted and n.split(".")[0] in tops]
    if foreign:
        raise ValueError(
            f"{path!r} must hold the weights of {network} and no others. Received: "
            f"{len(foreign)} more, {_some(foreign)}. Give the file of that network."
        )
    for name, shape in wanted.items():
        if not isinstance(found[name], StoredTensor):
            raise ValueError(
                f"{path!r} must hold a tensor at {name!r}. Received: "
                f"{_what(found[name], [], [])}. Save it in PyTorch with "
                "torch.save(model.state_dict(), FILE)."
            )
        if found[name].shape != tuple(shape):
            raise ValueError(
                f"{path!r} must hold the weights of {network}. Received: {name!r} of "
                f"shape {found[name].shape}, not {tuple(shape)}. Give the file of that "
                "network."
            )
    left_out += [name for name in renamed if name not in wanted]
    return found, sorted(left_out)


def _readings(state):
    """Yields the ways to read the names: `({name: value}, names that are beside)`."""
    todo, seen = [("", state)], set()
    while todo:
        prefix, inside = todo.pop()
        if prefix in seen:
            continue
        seen.add(prefix)
        beside = [name for name in state if not name.startswith(prefix)]
        yield inside, list(beside)
        for numbers in (_LIGHTLY_RESNET, {"0.": "features."}):
            yield _by_numbers(inside, numbers), list(beside)
        for each in _PREFIXES:
            parts = {n[len(each) :]: v for n, v in inside.items() if n.startswith(each)}
            if parts and len(prefix) < 100:
                todo.append((prefix + each, parts))


def _by_numbers(state, numbers):
    def rename(match):
        return numbers.get(match[0], match[0])

    return {re.sub(r"^\d+\.", rename, name): value for name, value in state.items()}


def _some(names):
    names = [str(name)[:60] for name in names]
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
