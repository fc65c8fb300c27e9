"""The route /v1/stream: audio in, events out, sessions that outlive a connection."""
