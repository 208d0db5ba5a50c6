"""A plug-in for Preceptor: one loss, one recipe that uses it, one metric."""
