"""Losses: tensors in, a scalar out; one module per loss, registered by the name that a recipe gives.

May import networks (memory banks) and utils. Never knows recipes, the training loop or run directories: every loss
works in a training loop of the user's own:

>>> from preceptor.losses import KLDivergence
>>> loss = KLDivergence(temperature=4.0)  # loss(student_logits, teacher_logits)
"""

from preceptor.losses.at import AttentionTransfer
from preceptor.losses.binary_cross_entropy import BinaryCrossEntropy
from preceptor.losses.cc import CorrelationCongruence
from preceptor.losses.ccd import ClassContrastive, ContrastiveRepresentation
from preceptor.losses.channel_relation import ChannelRelation
from preceptor.losses.cross_entropy import CrossEntropy, MaskCrossEntropy
from preceptor.losses.crp import CategoricalRelation
from preceptor.losses.cwd import ChannelWise, ChannelWiseMap
from preceptor.losses.dice import PooledDice, SoftDice
from preceptor.losses.dist import RelationMatching
from preceptor.losses.dkd import DecoupledKD, MaskDecoupledKD
from preceptor.losses.dsd_channel import CategorySimilarity
from preceptor.losses.dsd_pairwise import PixelSimilarity
from preceptor.losses.embedding_kd import EmbeddingQueue
from preceptor.losses.embedding_kd_maps import EmbeddingMaps
from preceptor.losses.embedding_kd_tokens import EmbeddingTokens
from preceptor.losses.emkd import ImportanceMaps, RegionAffinity
from preceptor.losses.feature_mse import FeatureMSE
from preceptor.losses.fitnet import EmbeddingFit, FitNet
from preceptor.losses.focal import Focal, LabelFocal
from preceptor.losses.fsp import SolutionFlow
from preceptor.losses.ifvd import IntraClassVariation
from preceptor.losses.image_relation import ImageRelation
from preceptor.losses.kl import KLDivergence
from preceptor.losses.ltkd import LongTailedKD
from preceptor.losses.mlld import MultiLevelLogits
from preceptor.losses.phi_s import PhiS
from preceptor.losses.pkt import ProbabilisticTransfer
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import LOSSES, register_loss
from preceptor.losses.reviewkd import ReviewKD
from preceptor.losses.sdd import ScaleDecoupled
from preceptor.losses.self_supervision import Pretext, SimilarityTransfer, TransformedLogits
from preceptor.losses.semckd import SemanticCalibration
from preceptor.losses.sigmoid_kd import SigmoidKD
from preceptor.losses.similarity import SimilarityPreserving
from preceptor.losses.simkd import SimKD
from preceptor.losses.skd_holistic import HolisticAdversary
from preceptor.losses.skd_pairwise import PairwiseSimilarity
from preceptor.losses.src_mt import SampleRelation
from preceptor.losses.srrl import SoftmaxRegression
from preceptor.losses.synergic import Synergic
from preceptor.losses.vid import VariationalInformation

__all__ = [
    "AttentionTransfer",
    "BinaryCrossEntropy",
    "CategoricalRelation",
    "CategorySimilarity",
    "ChannelRelation",
    "ChannelWise",
    "ChannelWiseMap",
    "ClassContrastive",
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "CrossEntropy",
    "DecoupledKD",
    "EmbeddingFit",
    "EmbeddingMaps",
    "EmbeddingQueue",
    "EmbeddingTokens",
    "FeatureMSE",
    "FitNet",
    "Focal",
    "HolisticAdversary",
    "ImageRelation",
    "ImportanceMaps",
    "IntraClassVariation",
    "KLDivergence",
    "LOSSES",
    "LabelFocal",
    "LongTailedKD",
    "MaskCrossEntropy",
    "MaskDecoupledKD",
    "MultiLevelLogits",
    "PairwiseSimilarity",
    "PhiS",
    "PixelSimilarity",
    "PooledDice",
    "Pretext",
    "ProbabilisticTransfer",
    "RegionAffinity",
    "RelationMatching",
    "ReviewKD",
    "SampleRelation",
    "ScaleDecoupled",
    "SemanticCalibration",
    "SigmoidKD",
    "SimKD",
    "SimilarityPreserving",
    "SimilarityTransfer",
    "SoftDice",
    "SoftmaxRegression",
    "SolutionFlow",
    "Synergic",
    "TransformedLogits",
    "VariationalInformation",
    "full_precision",
    "register_loss",
]
