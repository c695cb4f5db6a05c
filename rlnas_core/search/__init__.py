"""Search: scores of architectures, evolution and the exact optimum."""
