"""`respin setup`: from nothing to the published weights, ready to be served."""
