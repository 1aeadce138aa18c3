"""Authentication: accounts, passwords, login cookies, tokens, rate limits and the device's certificate."""
