"""Many machines: the server as a Ray Serve application, and recordings in bulk on Ray Data."""
