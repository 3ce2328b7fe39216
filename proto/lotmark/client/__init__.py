"""What a system embeds that submits to a ledger and keeps its receipts."""
