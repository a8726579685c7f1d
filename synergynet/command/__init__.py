"""The command `synergynet`: photos, folders and videos to landmarks, head pose and 3D faces."""
