"""Labels: fixed and redrawn sources, and pretext tasks."""
