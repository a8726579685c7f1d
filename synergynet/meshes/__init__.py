"""Face meshes and textures as files."""
