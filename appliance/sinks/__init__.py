"""What is done with readings: the video stream, the lamps, the records."""
