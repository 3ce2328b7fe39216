"""A test line: real servers and agents of a shop floor that lose things on command, and streams
that they sent, recorded. The demo, the benches and the tests watch them.
"""
