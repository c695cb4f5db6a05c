"""The search spaces as torch modules."""
