"""Sightline's core: plain Python, without Ray, that moves frames, detects, accounts and delivers."""
