"""NAS-Bench-201's accuracies, and measures of how well scores rank architectures."""
