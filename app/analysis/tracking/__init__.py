"""Which objects of a camera are the same in its next frame: ``tracker.track``; import the module that you need."""
