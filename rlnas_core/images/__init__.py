"""Images: their sources, and how they are read, split and augmented."""
