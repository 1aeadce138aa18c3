"""The sinks of readings: the video stream, the lamps, the recorder."""
