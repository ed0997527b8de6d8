"""Names that people gave, in text that is written from left to right.

A name of Hebrew or Arabic letters takes what stands beside it, digits and arrows, into
its own direction: `A → B` is read from right to left. An isolated name does not.
"""

import unicodedata

_FIRST_STRONG_ISOLATE, _END = "\u2068", "\u2069"
_RIGHT_TO_LEFT = {"R", "AL", "RLE", "RLO", "RLI"}


def isolated(name):
    """Returns a name for a sentence or an attribute.

    Args:
        name: Text.

    Returns:
        The same; between Unicode's isolates if any of it is written from right to left.
    """
    name = str(name)
    if any(unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT for letter in name):
        return f"{_FIRST_STRONG_ISOLATE}{name}{_END}"
    return name


def short(name, most):
    """Cuts a long name in its middle: names often differ at their ends alone."""
    if len(name) <= most:
        return name
    end = (most - 1) // 3
    return f"{name[: most - 1 - end]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"


def as_element(name, most=None):
    """Returns a name as HTML: an element of its own direction.

    Args:
        name: Text, which is escaped.
        most: Of a longer one the middle is left out, and told by its tooltip.
    """
    from markupsafe import Markup

    name = str(name)
    if most is None or len(name) <= most:
        return Markup("<bdi>{}</bdi>").format(name)
    return Markup('<bdi title="{}">{}</bdi>').format(name, short(name, most))
