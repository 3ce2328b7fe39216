"""EPCIS 2.0 over HTTP: capture events and query them, by the standard's REST binding."""
