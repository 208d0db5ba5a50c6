"""The engine: networks × views × objectives, and the run directory. It does not know which method it is running."""
