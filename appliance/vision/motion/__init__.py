"""Movement: head pose, nods, the upper body, the camera's own shift, and scene cuts."""
