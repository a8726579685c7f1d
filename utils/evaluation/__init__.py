"""Errors of any model, their summary, pictures and reports."""
