"""The studio: six pages in a browser that show every step, on the server of `malsori serve` (extra `studio`)."""
