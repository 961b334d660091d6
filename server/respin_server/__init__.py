"""The embedded Triton: assemble a model repository, launch the server, supervise it, and stop it."""
