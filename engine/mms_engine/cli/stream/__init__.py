"""`mms stream`: live audio to text."""
