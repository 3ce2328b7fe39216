"""OPC UA servers as sources: what their variables told, and each gap in it."""
