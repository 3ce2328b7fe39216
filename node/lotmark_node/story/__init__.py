"""The story of one stator, for the demo: the documents its parties write, and its welds.

Wire is drawn, tested and shipped; a stator is wound from it; a camera finds a cold solder joint at
weld 137 of 192, a heavier model agrees, and an operator confirms it.
"""
