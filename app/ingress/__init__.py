"""One Detect call: checked, batched, kept in order, handed over."""
