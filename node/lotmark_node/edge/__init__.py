"""The edge site: one process that takes what machines tell and puts it on record."""
