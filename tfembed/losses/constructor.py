"""Constructors of losses, from the signatures of their functions."""

import inspect
import textwrap

from tfembed.ops.ignored_labels import taking_ignore_label

FRAME = ("ref_labels", "ref_embeddings")  # with the first two, what a call brings
WIDTH = 84  # of a docstring's lines, its indentation left out


def settings_of(function):
    """Returns the parameters of a loss's function that are its settings, in order.

    Those without a default stand first, as Python wants it of a constructor.

    Args:
        function: A pure function of labels, embeddings (or similarities), references if
            it takes any, and settings, which have names.

    Returns:
        A list of `inspect.Parameter`; None for a function that takes any keyword, as
        nobody knows which.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    named = [
        each.replace(kind=each.POSITIONAL_OR_KEYWORD)
        for each in parameters[2:]
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        and each.name not in FRAME
    ]
    return sorted(named, key=lambda each: each.default is not each.empty)


def names_of(check):
    """Returns the names of the settings that a check takes."""
    return set(inspect.signature(check).parameters)


def give_constructor(cls, base):
    """Sees to the constructor of a class that is being made.

    Where the class names a `function`, and neither it nor a class between it and `base`
    wrote an `__init__`, it gets one: of the function's settings, `reduction` and
    `name`, which go to the parent's `__init__`. Its docstring then tells of them,
    unless it does so already. Either way the constructor takes `ignore_label=` besides.

    Args:
        cls: A class below `base`.
        base: The class whose `__init__` takes settings by keyword, whatever they are.

    Raises:
        TypeError: If the class's `check` takes what is no setting of its function.
    """
    if "__init__" in vars(cls):
        cls.__init__ = taking_ignore_label(cls.__init__)
        return
    inherited = cls.__init__
    owner = cls if inherited is base.__init__ else _owner(inherited)
    settings = None
    if owner is not None and vars(cls).get("function") is not None:
        settings = settings_of(cls.function)
    if settings is None:
        return
    names = [each.name for each in settings]
    unknown = names_of(cls.check).difference(names)
    if "check" in vars(cls) and unknown:
        raise TypeError(
            f"`check` of `{cls.__name__}` must take settings of its function: "
            f"{', '.join(names)}. Received: {', '.join(sorted(unknown))}."
        )
    name = getattr(cls.function, "__name__", cls.__name__)
    cls.__init__ = taking_ignore_label(_constructor(cls, owner, settings, name))
    doc = vars(cls).get("__doc__")
    if doc and "Args:" not in doc:  # there is none with python -OO
        cls.__doc__ = f"{inspect.cleandoc(doc)}\n\n{_arguments(names, name)}"


def _owner(constructor):
    """Returns the class after which a derived constructor goes on; None if written."""
    return getattr(constructor, "derived_for", None)


def _constructor(cls, owner, settings, name):
    """Returns an `__init__` that looks like one that was written in the class."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = inspect.Parameter("self", kind)
    more = [
        inspect.Parameter(
            "reduction", kind, default="sum_over_batch_size", annotation="str"
        ),
        inspect.Parameter("name", kind, default=name, annotation="str | None"),
    ]
    signature = inspect.Signature([*settings, *more])

    def __init__(self, *args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{cls.__qualname__}.__init__() {error}. It takes "
                f"{', '.join(signature.parameters)}, ignore_label."
            ) from None
        given.apply_defaults()
        super(owner, self).__init__(**given.arguments)

    __init__.__module__ = cls.__module__
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.__signature__ = signature.replace(parameters=[own, *settings, *more])
    __init__.derived_for = owner
    return __init__


def _arguments(names, function):
    """Returns the section of a class's docstring that tells of its arguments."""
    entries = [f"{', '.join(names)}: As in `{function}`."] if names else []
    entries.append("reduction, name: As in `keras.losses.Loss`.")
    wrapped = [
        textwrap.fill(
            entry,
            WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_on_hyphens=False,
        )
        for entry in entries
    ]
    return "\n".join(["Args:", *wrapped])
