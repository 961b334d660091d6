"""The script that Respin replaces, rewritten as it would be run today: PyTorch, one photo after the other."""
