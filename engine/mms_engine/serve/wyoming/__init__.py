"""Wyoming protocol over TCP, by which Home Assistant speaks to voice services."""
