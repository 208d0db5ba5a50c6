"""The student leaves: ONNX export, int8, the web page, the model card, a small service, and inference without torch.

Holds what reads a finished run and writes or runs an export. May import ``runs`` and what stands below. Never knows how
a network was trained, and nothing of reports or studies.
"""
