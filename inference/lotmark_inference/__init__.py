"""Models at the edge: engines that run them, what may run, when, and how well it still does."""
