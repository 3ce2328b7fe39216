"""A test line: real machines' servers that lose things on command, and recorded streams of theirs.

The demo, the benches and the tests watch them.
"""
