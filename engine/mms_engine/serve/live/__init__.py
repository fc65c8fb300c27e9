"""Live streams: admission, hand-over between the event loop and the pool of streams."""
