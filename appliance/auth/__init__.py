"""Who may come in: accounts, passwords, cookies, tokens, limits and the device's own certificate."""
