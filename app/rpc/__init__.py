"""The gRPC interface: generated code, and conversion to and from Sightline's types."""
