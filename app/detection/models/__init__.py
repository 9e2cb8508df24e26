"""Model files: found, checked, loaded, exported, trained."""
