"""Rules: a camera's state and its next frame in, transitions of incidents out; ``engine.py`` has the function.

One file a type of rule. The input is what an event publishes, so past events and live ones give the same transitions.
"""
