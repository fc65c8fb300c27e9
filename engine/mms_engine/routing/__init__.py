"""Routing: speech whose language is identified, and recognised with that language's adapter."""
