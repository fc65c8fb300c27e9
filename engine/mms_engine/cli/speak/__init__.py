"""Command `mms speak`: speech of a text."""
