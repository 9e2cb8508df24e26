"""The HTTP face of Sightline."""

from app.web.api import Health, build_api

__all__ = ["Health", "build_api"]
