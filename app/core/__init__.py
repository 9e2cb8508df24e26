"""What several rooms need: one noun a file; imports nothing of ours but the errors."""
