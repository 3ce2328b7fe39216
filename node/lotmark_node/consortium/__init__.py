"""Founding a consortium: what it shall be, and the files that make it so."""
