"""Every setting: its home, its default, its validator; loading, environment, live changes."""
