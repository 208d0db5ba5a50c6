"""Reports: self-contained HTML pages on runs and on studies, a study's tables, and Grad-CAM galleries.

Holds the pages, their templates and styles, figures, tables and sentences; ``formatting`` writes every number, for the
command line too. May import studies, runs and every room below. Never knows how runs are trained or scheduled.
"""
