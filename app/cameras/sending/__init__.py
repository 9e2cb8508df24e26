"""From a sampled frame to its outcome: encoding, flow control, the gRPC call."""
