"""The embedded Triton: lay out what it serves, launch it, watch it, stop it."""
