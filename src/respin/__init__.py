"""The core of Respin, which every part shares. It needs numpy only."""
