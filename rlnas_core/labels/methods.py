"""Names of label methods; nothing heavy, since planning reads them too."""

PRETEXT_TASKS = {"rotation": 4, "jigsaw": 24, "colorization": 261}
"""Number of classes of every pretext task."""
