"""Where networks compute: device, precision, threads."""
