"""Training of the demo model of language identification, and its weights."""
