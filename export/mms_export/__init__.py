"""Turn an MMS checkpoint into a bundle the engine can serve."""
