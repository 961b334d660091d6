"""Training of the mini set's networks on rendered scenes: `respin train`."""
