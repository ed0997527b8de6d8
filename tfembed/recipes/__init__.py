"""How to train: one method a file, all of one shape.

`python -m tfembed.recipes` lists them. They write a run directory, which
`tfembed.export` and `tfembed.report` read. A recipe of one's own is a `Recipe` with a
`Config`, run by `run_recipe`. Importing this room imports no TensorFlow.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Networks": "networks",
        "Recipe": "recipe",
        "Settings": "settings",
        "build_encoder": "networks",
        "option": "config",
        "run_recipe": "command",
    },
)
