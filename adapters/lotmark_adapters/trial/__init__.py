"""Machines for trials: real servers on this machine that overrun, restart and stall on command."""
