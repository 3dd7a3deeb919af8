"""CLIP space: what frames and captions become. Videos and Tideos in, a feature store out."""
