"""The published checkpoints as files: list, fetch, verify, and synthesize random ones in the same layouts."""
