"""The demo checkpoint: how its data is made, how it is trained, measured and published."""
