"""What happened, from what was detected: tracks, rules and the lives of objects.

Pure functions of a camera's state and its next frame: no I/O, and no clock but capture time.
"""
