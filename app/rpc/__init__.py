"""The gRPC interface: generated code, and conversion to and from our types."""
