"""The board: lamps, button, fault codes, throttling, and switching it off."""
