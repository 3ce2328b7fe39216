"""Executes rules: an event, what was kept, and the time go in; effects and receipts come out.

Nothing here changes anything: who calls writes what an outcome says, all of it or nothing.
"""
