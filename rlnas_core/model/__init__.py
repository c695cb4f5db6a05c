"""Save, export and load trained networks as directories for use elsewhere."""
