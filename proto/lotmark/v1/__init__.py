"""Generated wire messages of protocol version 1."""
