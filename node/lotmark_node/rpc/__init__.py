"""The gRPC face of a node: services over the engine, identities, access and status codes."""
