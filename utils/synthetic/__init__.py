"""The open face model, and drawn faces with exact labels."""
