"""The command `evaluate`: metrics of the models on the owner's own pictures."""
