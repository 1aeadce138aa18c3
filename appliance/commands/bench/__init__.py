"""`bench`: what the parts and the engines cost on this board."""
