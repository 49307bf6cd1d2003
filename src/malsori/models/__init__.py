"""One paper a file: configuration, named output, layers, network."""
