"""`respin batch`: many photos, each a job of its own, in a run that can be resumed."""
