"""`mms transcribe`: recordings to text."""
