"""Hostile and damaged files: each gets one clear line, and costs little."""
