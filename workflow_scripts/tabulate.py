"""."""
import job
