"""Parts of the pipeline; see the files' own docstrings. Importing this package reads nothing."""
