"""Studies: many runs from one plan of rows, folds and seeds.

Holds the plan's schema and how overrides apply to it, the matrix of cells and shared runs, the scheduler with its
engines (local processes, Ray), and the records kept in a study's folder. May import runs and every room below it. Never
knows how a report looks or what a command line is.
"""
