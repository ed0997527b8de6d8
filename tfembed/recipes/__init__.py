"""How to train: one method a file, all of one shape.

`python -m tfembed.recipes` lists them. They write a run directory, which
`tfembed.export` and `tfembed.report` read.
"""
