"""The published checkpoints as files: their sources, fetching, checking, and random stand-ins of the same form."""
