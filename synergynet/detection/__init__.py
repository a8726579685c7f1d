"""From a photo to the boxes of its faces."""

DETECTORS = "auto, centerface, yunet:PATH, none, boxes:FILE"  # that --detector takes
