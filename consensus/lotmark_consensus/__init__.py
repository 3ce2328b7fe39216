"""Total order of opaque blocks: the `Ordering` port and the engines behind it."""
