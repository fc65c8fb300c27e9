"""Speech synthesis: text to audio, streamed or whole, with any voice of a bundle."""
