"""Rules that pay out: a language for expressions, packages of rules, and what executes them.

Everything here is pure: time, identity and state arrive in arguments, and what is to change is
returned. Nothing opens a file, asks a clock, draws by chance or computes with floats, so that every
node comes to the same cent.
"""
