"""How all that only shows that everything runs is marked, wherever it is shown."""

#: Of a quick study and of its runs.
NOT_EVIDENCE = "quick: not evidence"
