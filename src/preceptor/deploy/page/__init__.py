"""The exported network as one HTML file that runs in a browser, opens from disk and sends nothing anywhere.

``build`` fills the template with the model and ONNX Runtime Web, which ``web_runtime`` finds on this machine. Needs no
torch; knows nothing of runs.
"""
