"""What tests run against: servers that they start, and stand-ins that they script."""
