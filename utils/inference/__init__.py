"""The network at full speed, and as a file for other programs."""
