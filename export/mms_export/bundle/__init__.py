"""Export of a bundle: what it needs, what is there already, and how it is written."""
