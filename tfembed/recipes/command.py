"""The command of a recipe, from its flags to its result."""

import inspect
import sys

from tfembed.recipes import config as configs

__all__ = ["run_recipe"]


def run_recipe(recipe, argv=None):
    """Runs a recipe as a command: reads the flags, trains, measures, writes the run.

    What `--help` says first is the docstring of the module that the recipe's class
    stands in. TensorFlow is imported once the flags are known to be right.

    Args:
        recipe: An instance of a subclass of `tfembed.recipes.Recipe`.
        argv: The words of the command line; those of this process by default.

    Returns:
        `result.json` as a dictionary. Wrong flags and other mistakes of a user end the
        process with status 2 and a sentence, Ctrl-C with 130.
    """
    module = sys.modules[type(recipe).__module__]
    name = module.__spec__.name if module.__spec__ else module.__name__
    description = inspect.getdoc(module)
    config, run_dir = configs.parse(recipe.Config, name, description, argv)
    from tfembed.recipes import training

    return training.main(recipe, config, run_dir)
