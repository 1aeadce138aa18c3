"""Interview Grader: reads facial expressions on the device, after people have agreed."""

__version__ = "0.2.0"
