"""What is known about a camera beyond one frame: its tracks; import the module that you need."""
