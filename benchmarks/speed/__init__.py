"""How near u2a is to what the hardware allows: ratios, each measured side by side in one run (`make bench`)."""
