"""The pure transition: state and block in, entries and new state out.

Used unchanged by the node, by its recovery and by the verifier. Nothing here knows a clock, chance,
the environment, a store or a transport: the same blocks give the same bytes on every machine.
"""
