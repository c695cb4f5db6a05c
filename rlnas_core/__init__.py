"""RLNAS: neural architecture search with random labels, as a library."""

__version__ = "0.2.0"
