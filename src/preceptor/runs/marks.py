"""The mark of results that only show that everything runs; every table, figure and report carries it."""

#: Of a quick study and of its runs.
NOT_EVIDENCE = "quick: not evidence"
