"""Faces of videos: followed, smoothed, written."""
