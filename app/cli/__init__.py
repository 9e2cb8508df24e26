"""The sightline command: one file a command."""
