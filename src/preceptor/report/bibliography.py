"""BibTeX of the methods that a report uses: the recipes' own papers, and those of the evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MARK = "% Methods of a Preceptor report"
#: key → BibTeX type and fields, of the evaluation.
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "bootstrap": (
        "book",
        {
            "author": "Efron, Bradley and Tibshirani, Robert J.",
            "title": "An Introduction to the Bootstrap",
            "publisher": "Chapman and Hall",
            "year": "1993",
        },
    ),
    "calibration": (
        "inproceedings",
        {
            "author": "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
            "title": "On Calibration of Modern Neural Networks",
            "booktitle": "International Conference on Machine Learning",
            "year": "2017",
        },
    ),
    "brier": (
        "article",
        {
            "author": "Brier, Glenn W.",
            "title": "Verification of Forecasts Expressed in Terms of Probability",
            "journal": "Monthly Weather Review",
            "volume": "78",
            "year": "1950",
        },
    ),
    "decision_curve": (
        "article",
        {
            "author": "Vickers, Andrew J. and Elkin, Elena B.",
            "title": "Decision Curve Analysis: A Novel Method for Evaluating Prediction Models",
            "journal": "Medical Decision Making",
            "volume": "26",
            "year": "2006",
        },
    ),
    "conformal": (
        "article",
        {
            "author": "Sadinle, Mauricio and Lei, Jing and Wasserman, Larry",
            "title": "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels",
            "journal": "Journal of the American Statistical Association",
            "volume": "114",
            "year": "2019",
        },
    ),
    "adaptive_sets": (
        "inproceedings",
        {
            "author": "Romano, Yaniv and Sesia, Matteo and Candès, Emmanuel J.",
            "title": "Classification with Valid and Adaptive Coverage",
            "booktitle": "Advances in Neural Information Processing Systems",
            "year": "2020",
        },
    ),
    "selective": (
        "inproceedings",
        {
            "author": "Geifman, Yonatan and El-Yaniv, Ran",
            "title": "Selective Classification for Deep Neural Networks",
            "booktitle": "Advances in Neural Information Processing Systems",
            "year": "2017",
        },
    ),
    "out_of_distribution": (
        "inproceedings",
        {
            "author": "Hendrycks, Dan and Gimpel, Kevin",
            "title": "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
            "booktitle": "International Conference on Learning Representations",
            "year": "2017",
        },
    ),
    "grad_cam": (
        "inproceedings",
        {
            "author": "Selvaraju, Ramprasaath R. and Cogswell, Michael and Das, Abhishek and Vedantam, Ramakrishna "
            "and Parikh, Devi and Batra, Dhruv",
            "title": "Grad-{CAM}: Visual Explanations from Deep Networks via Gradient-Based Localization",
            "booktitle": "International Conference on Computer Vision",
            "year": "2017",
        },
    ),
    "cka": (
        "inproceedings",
        {
            "author": "Kornblith, Simon and Norouzi, Mohammad and Lee, Honglak and Hinton, Geoffrey",
            "title": "Similarity of Neural Network Representations Revisited",
            "booktitle": "International Conference on Machine Learning",
            "year": "2019",
        },
    ),
    "cka_batches": (
        "inproceedings",
        {
            "author": "Nguyen, Thao and Raghu, Maithra and Kornblith, Simon",
            "title": "Do Wide and Deep Networks Learn the Same Things? Uncovering How Neural Network Representations "
            "Vary with Width and Depth",
            "booktitle": "International Conference on Learning Representations",
            "year": "2021",
        },
    ),
    "claim": (
        "article",
        {
            "author": "Tejani, Ali S. and Klontzas, Michail E. and Gatti, Anthony A. and others",
            "title": "Checklist for Artificial Intelligence in Medical Imaging ({CLAIM}): 2024 Update",
            "journal": "Radiology: Artificial Intelligence",
            "volume": "6",
            "year": "2024",
        },
    ),
    "tripod": (
        "article",
        {
            "author": "Collins, Gary S. and Moons, Karel G. M. and Dhiman, Paula and others",
            "title": "{TRIPOD+AI} Statement: Updated Guidance for Reporting Clinical Prediction Models",
            "journal": "BMJ",
            "volume": "385",
            "year": "2024",
        },
    ),
}


def as_bibtex(recipes: Mapping[str, str], methods: Iterable[str]) -> str:
    """Return BibTeX of recipes and methods.

    Args:
        recipes: name → the paper that a recipe names, in words; recipes without one are left out.
        methods: keys of :data:`METHODS`.

    >>> print(as_bibtex({"kd": "Hinton et al. 2015"}, []))
    % Methods of a Preceptor report
    <BLANKLINE>
    @misc{recipe_kd,
      title = {Hinton et al. 2015},
      note = {Recipe kd},
    }
    <BLANKLINE>
    """
    entries = [
        _entry("misc", f"recipe_{_key(name)}", {"title": _plain(paper), "note": f"Recipe {name}"})
        for name, paper in recipes.items()
        if paper
    ]
    entries += [_entry(kind, key, fields) for key, (kind, fields) in METHODS.items() if key in set(methods)]
    return "\n".join([MARK, "", *entries])


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)


def _plain(text: str) -> str:
    return re.sub(r"([&%$#_])", r"\\\1", text.replace("{", "(").replace("}", ")"))
