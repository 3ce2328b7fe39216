"""How the shipped weld models were made; extra `train`. No part of what is installed."""
