"""Speech as it is heard live: recordings, what streams show of them and when, and clients."""
