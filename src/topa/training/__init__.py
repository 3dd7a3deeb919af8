"""Pre-alignment: data, the loop, checkpoints, recipes."""
