"""The version, for the package and for setup.py, which reads this file as text."""

__version__ = "0.1.0"
