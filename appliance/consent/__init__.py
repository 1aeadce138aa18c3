"""Consent: the session, the notice, the rules of the jurisdiction, and the preview before anyone agreed."""
