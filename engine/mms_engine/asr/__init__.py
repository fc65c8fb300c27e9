"""Speech recognition: audio and language to transcripts, offline and in streams."""
