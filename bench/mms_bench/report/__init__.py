"""Reports of result files: Markdown, an HTML page with plots, tables of documents."""
