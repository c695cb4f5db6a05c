"""RLNAS: neural architecture search with random labels, as a library."""
