"""3D face alignment, head pose and a 3D face from photos and videos."""
