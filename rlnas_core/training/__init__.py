"""Training: the loop, its optimiser and checkpoints; supernets and stand-alone networks."""
