"""Factory and office protocols, turned into events."""
