"""Names of label methods; this module imports nothing heavy, since rules and planning read it too."""

FIXED_METHODS = ("ground-truth", "uniform-once", "shuffle-once")
"""Labels that are drawn once, before training (Sec. 4)."""

REDRAWN_METHODS = ("uniform-each-step", "shuffle-each-step")
"""Labels that are redrawn for every batch (Sec. 4)."""

METHODS = FIXED_METHODS + REDRAWN_METHODS

TRUTH_METHODS = ("ground-truth", "shuffle-once", "shuffle-each-step")
"""Labels made from the true labels; no other method may read those."""

PRETEXT_TASKS = {"rotation": 4, "jigsaw": 24, "colorization": 261}
"""Number of classes of every pretext task of UnNAS (table 12)."""
