"""Tickets and alerts told to people's systems: kept in an outbox until a webhook has taken them."""
