"""`tfembed.recipes` as type checkers see it: by docs/write_stubs.py."""

from tfembed.recipes.command import run_recipe as run_recipe
from tfembed.recipes.config import option as option
from tfembed.recipes.networks import Networks as Networks
from tfembed.recipes.networks import build_encoder as build_encoder
from tfembed.recipes.recipe import Recipe as Recipe
from tfembed.recipes.settings import Settings as Settings

__all__ = [
    "Networks",
    "Recipe",
    "Settings",
    "build_encoder",
    "option",
    "run_recipe",
]
