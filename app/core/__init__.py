"""What several rooms need: one noun a module; imports nothing of Sightline but the errors."""
