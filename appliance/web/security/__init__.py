"""Who may do what: policies, callers, cross-site requests, host names."""
