"""Command `mms transcribe`: transcription of recordings."""
