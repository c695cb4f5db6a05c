"""The configuration: its checks, and estimates of the cost of a run."""
