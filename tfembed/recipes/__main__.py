"""`python -m tfembed.recipes`: the recipes, a line each."""

import ast
from pathlib import Path

from tfembed.registry import offered


def recipes():
    """Returns `{name: first line of its docstring}` of the modules with a Config."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        if "Config" in classes:
            found[path.stem] = ast.get_docstring(tree).splitlines()[0]
    return found


def main():
    """Prints the table, with those that installed packages offer, unread."""
    for name, line in recipes().items():
        print(f"python -m tfembed.recipes.{name:<12} {line}")
    for name, entry in offered("tfembed.recipes").items():
        print(f"python -m {entry.module:<28} {name}, of another package")


if __name__ == "__main__":
    main()
