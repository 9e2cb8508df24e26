"""What happened, from what was detected: pure functions of a camera's state and its next frame, no I/O, no clock."""
