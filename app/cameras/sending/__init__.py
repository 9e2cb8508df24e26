"""From a sampled frame to its outcome: encoded, sent, paced."""
