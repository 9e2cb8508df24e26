"""The lives of objects: which there were, how they went, and where they stayed; ``lives.py`` has the function."""
