"""Motion: head pose, nods, the upper body, camera movement, and scene cuts."""
