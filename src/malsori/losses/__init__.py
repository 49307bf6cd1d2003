"""What is minimised: named functions with their formula, all masked through one `masked_mean`."""
