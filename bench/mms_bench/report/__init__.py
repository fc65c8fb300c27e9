"""Turns result files into Markdown, into a page with plots, and into the tables of documents."""
