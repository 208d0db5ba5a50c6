"""Many runs as one: plans of methods, folds and seeds, their statistics and their report."""
