"""What runs the network: from crops (B, 120, 120, 3) uint8 BGR to whitened parameters (B, 62)."""

ENGINES = ("auto", "onnx", "opencv")  # that --engine takes; scripts of the project add torch
