"""The HTTP endpoint of a node, for systems of its own party that seal and look up."""
