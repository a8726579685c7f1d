"""Cameras, rotations, crops and the linear face."""
