"""Written Korean → phonemes: normalization, pronunciation, symbols. Needs neither torch nor numpy."""
