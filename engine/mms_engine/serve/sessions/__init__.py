"""Sessions that outlive a connection: their registry, and the folder that servers share."""
