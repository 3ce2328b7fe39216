"""Machine tools that speak MTConnect: an agent's observations, its assets and its gaps."""
