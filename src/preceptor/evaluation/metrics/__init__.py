"""Metrics and their registry: one module a family, one entry a metric.

A metric registered here appears in ``metrics.json``, ``history.csv``, run and study reports, study plans
(``layout.columns``) and ``select.metric``. Importing this package loads neither torch nor scikit-learn.
"""

from preceptor.evaluation.metrics.registry import METRICS, Additive, Metric, add_metric, metrics_of, register_metric

__all__ = ["METRICS", "Additive", "Metric", "add_metric", "metrics_of", "register_metric"]
