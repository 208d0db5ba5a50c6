"""The two kinds of network that runs train and save, as types."""

from __future__ import annotations

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.segmenter import Segmenter, UNetArchitecture

Network = Classifier | Segmenter
AnyArchitecture = Architecture | UNetArchitecture
