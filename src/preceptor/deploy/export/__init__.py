"""From a finished run to a folder of ONNX files that needs neither the run nor torch.

``networks`` and ``graph`` make the ONNX graphs, ``verify`` measures them against PyTorch, ``write`` puts the folder
together. May import :mod:`preceptor.runs` and what lies below it; knows nothing of reports, studies or commands.
"""
