"""Face detection: BlazeFace, the parts of the picture to search, and merging of detections."""
