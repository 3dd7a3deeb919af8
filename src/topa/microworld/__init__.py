"""The embedded default: scenes that exist in words and in pixels, and the micro models that know them."""
