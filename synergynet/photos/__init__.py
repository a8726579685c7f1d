"""Finding, reading and cutting pictures."""
