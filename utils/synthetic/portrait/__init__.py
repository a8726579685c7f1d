"""A posed head as a 120-px photograph, made from numbers: no textures, no assets."""
