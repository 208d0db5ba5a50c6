"""The kinds of network that runs train and save."""

from __future__ import annotations

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.segmenter import Segmenter, UNetArchitecture

Network = Classifier | Segmenter
#: What a task may call its networks (``Task.network``).
KINDS: dict[str, type[Network]] = {"classifier": Classifier, "labeller": Classifier, "segmenter": Segmenter}
AnyArchitecture = Architecture | UNetArchitecture
