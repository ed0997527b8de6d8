"""What mkdocstrings is to make of this package's docstrings (an extension of griffe).

Examples stand in the text as `>>>`, which Markdown takes for a quotation: here they
become blocks of code. `Call arguments:` becomes a section, as `Args:` is. Arguments
that share a text, `margin, scale: As in ...`, each get it. What is returned is text,
and no list of types and names.
"""

import re
import textwrap

import griffe

# From a prompt to the end of its paragraph, at whichever indentation.
EXAMPLE = re.compile(r"(?m)^( *)>>> .*(?:\n(?!\s*$).*)*")
ARGUMENTS = re.compile(r"(?m)^(?:Args|Attributes):\n(?:(?: .*)?\n?)*")
SHARED = re.compile(r"(?m)^    ((?:\w+,\s+)+\w+):((?:.*)(?:\n     .*)*)")

RETURNED = re.compile(r"(?m)^(Returns|Yields):\n((?:    .*\n?|\n)+)")


def rewritten(text):
    """Returns a docstring's text as Markdown is to read it."""
    text = text.replace("\nCall arguments:\n", "\nOther Args: Call arguments\n")
    text = ARGUMENTS.sub(lambda found: SHARED.sub(_parted, found.group()), text)
    text = RETURNED.sub(_as_text, text)
    return EXAMPLE.sub(_fenced, text)


def _as_text(found):
    name, about = found.groups()
    return f"**{name}:**\n\n{textwrap.dedent(about)}"


def _parted(found):
    names, about = found.groups()
    return "\n".join(f"    {name}:{about}" for name in re.split(r",\s+", names))


def _fenced(found):
    space = found.group(1)
    return f"{space}```pycon\n{found.group()}\n{space}```"


class TfembedDocstrings(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_object(self, *, obj, **kwargs):
        """Is called with every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)

    def on_class_members(self, *, cls, **kwargs):
        """Is called with every class: a protocol has its constructor from `typing`."""
        constructor = cls.members.get("__init__")
        if constructor is not None and constructor.is_alias:
            if not constructor.target_path.startswith("tfembed."):
                del cls.members["__init__"]

    def on_attribute_instance(self, *, node, attr, **kwargs):
        """Is called with every attribute: what its type says is not about it."""
        if not isinstance(getattr(node, "obj", None), property):
            attr.docstring = None
