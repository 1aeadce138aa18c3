"""Consent: the session, the notice, the rules of the jurisdiction, and the blurred preview."""
