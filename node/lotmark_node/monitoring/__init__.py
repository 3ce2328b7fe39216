"""What a node and a witness tell those who watch them: metrics, life and readiness, over HTTP."""
