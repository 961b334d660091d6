"""The job from request to results: which stages run, in which order, and what later jobs may reuse."""
