"""Search: scores of architectures, evolutionary search and the exact optimum."""
