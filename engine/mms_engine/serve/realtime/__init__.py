"""Realtime transcription over a WebSocket, as OpenAI's clients speak it."""
