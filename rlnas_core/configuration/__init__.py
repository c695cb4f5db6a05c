"""The configuration: its checks, and what a run will cost."""
