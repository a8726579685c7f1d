"""From a photo to the boxes of its faces."""
