"""NAS-Bench-201's accuracies, and how well scores rank them."""
