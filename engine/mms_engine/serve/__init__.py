"""Server of speech tasks over HTTP."""
