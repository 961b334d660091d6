"""How good the pictures of a set are, measured on rendered scenes whose truth is known."""
