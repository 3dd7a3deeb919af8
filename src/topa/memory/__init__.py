"""The memory bank, and the projection from image space into text space."""
