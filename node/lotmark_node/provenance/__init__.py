"""Provenance: an index that every node derives from the log, and the questions it answers.

Nothing here decides anything: it can be deleted and made again from the blocks.
"""
