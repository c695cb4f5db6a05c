"""Images: where they come from, and how they are read, augmented and split."""
