"""The page of the server: live captions, recordings and speech in a browser."""
