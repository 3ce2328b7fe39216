"""Answers about provenance as people and other programs read them; nothing here asks a node."""
