"""From scores a frame to symbols: how a recogniser's output becomes a text."""
