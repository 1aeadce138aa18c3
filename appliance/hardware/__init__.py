"""The board: lamps, button, fault codes, throttling and power-off."""
