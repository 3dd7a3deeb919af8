"""A library of videos: indexed once, searched by words, asked without decoding a frame again."""
