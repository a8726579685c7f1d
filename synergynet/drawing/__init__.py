"""Faces drawn over photos."""
