"""Losses: one a file, a pure function and its Keras class."""

__all__ = []
