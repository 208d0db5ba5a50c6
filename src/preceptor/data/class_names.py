"""The class codes of published data sets in full words, for those who are shown a prediction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from preceptor.utils.errors import PreceptorError, did_you_mean

_SKIN = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesion",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
#: By reader, code -> name. The phantom's classes imitate those of HAM10000 and are named as imitations.
FULL_NAMES: dict[str, dict[str, str]] = {
    "ham10000": _SKIN,
    "isic2019": {
        "AK": "actinic keratosis",
        "BCC": "basal cell carcinoma",
        "BKL": "benign keratosis",
        "DF": "dermatofibroma",
        "MEL": "melanoma",
        "NV": "melanocytic nevus",
        "SCC": "squamous cell carcinoma",
        "VASC": "vascular lesion",
        "UNK": "none of the others",
    },
    "isic2018": {code.upper(): name for code, name in _SKIN.items()},
    "pad_ufes_20": {
        "ACK": "actinic keratosis",
        "BCC": "basal cell carcinoma",
        "MEL": "melanoma",
        "NEV": "nevus",
        "SCC": "squamous cell carcinoma",
        "SEK": "seborrheic keratosis",
    },
    "derm7pt": {
        "BCC": "basal cell carcinoma",
        "NEV": "nevus",
        "MEL": "melanoma",
        "MISC": "miscellaneous",
        "SK": "seborrheic keratosis",
    },
    "phantom": {code: f"synthetic {name}" for code, name in _SKIN.items()},
}


def parse_names(texts: Iterable[str], codes: Collection[str]) -> dict[str, str]:
    """Class code → full words, of ``CODE=full words`` texts; codes may hold ``=`` themselves.

    Args:
        codes: class codes. Of several that a text may begin with the longest is meant.

    >>> parse_names(["mel=melanoma", "=SUM(1)=good", "a=b = c"], ["mel", "=SUM(1)", "a"])
    {'mel': 'melanoma', '=SUM(1)': 'good', 'a': 'b = c'}
    """
    names: dict[str, str] = {}
    for text in texts:
        begins = [code for code in codes if text.startswith(f"{code}=") and len(text) > len(code) + 1]
        code = max(begins, key=len, default=text.partition("=")[0])
        names[code] = text[len(code) + 1 :]
    return names


def full_names(reader: str, codes: Sequence[str], given: Mapping[str, str] | None = None) -> list[str]:
    """Name classes in full words.

    Args:
        reader: the data set's reader.
        codes: class codes in order.
        given: code -> name, which come before those of :data:`FULL_NAMES`. A code that neither knows names itself,
            with spaces for underscores.

    Raises:
        PreceptorError: a given code that is not a class.

    >>> full_names("ham10000", ["mel", "nv"])
    ['melanoma', 'melanocytic nevus']
    >>> full_names("table", ["no_finding"])
    ['no finding']
    """
    names = {**FULL_NAMES.get(reader, {}), **(given or {})}
    for code in given or {}:
        if code not in codes:
            raise PreceptorError(
                f"class name for {code!r}: there is no such class.{did_you_mean(code, codes)}",
                expected=f"one of {', '.join(codes)}",
            )
    return [names.get(code, code.replace("_", " ")) for code in codes]
