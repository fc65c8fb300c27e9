"""Language identification: the language of a recording, or that it is not known."""
