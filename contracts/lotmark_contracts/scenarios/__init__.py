"""The tests inside a package: events one after the other, and what is expected of each."""
