"""``precision: auto``: the fastest mode of each network on this machine whose outputs agree with float32.

Modes are timed in turns on views of the recipe's own first batch, with a backward pass where a network learns. A mode
is taken only if every output stays within :data:`TOLERANCE` of float32's and it saves at least :data:`LEAST_GAIN` of
the time. CUDA graphs are tried where there is a GPU; compiling where a compiler is at hand and the rest of the run is
long enough to repay it.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from preceptor.networks.build import AnyNetwork
from preceptor.networks.folding import fold_batch_norms, relative_error
from preceptor.networks.kinds import Network
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import ForwardMode, Recipe
from preceptor.training.cuda_graphs import BrokenRecordingError
from preceptor.training.network_pass import NetworkPass, has_compiler
from preceptor.utils.errors import PreceptorWarning

#: Largest relative error ‖output - float32's‖ / ‖float32's‖ of logits, map, embedding, projection and features.
TOLERANCE = 0.03
#: Least share of the time that another mode than float32 must save.
LEAST_GAIN = 0.05
#: Seconds that the passes of the rest of a run must take, in the best mode so far, before compiling is tried.
COMPILE_FROM = 1800.0
ROUNDS = 3


@dataclass(frozen=True)
class ModeChoice:
    """What was measured of one network.

    Attributes:
        mode: the one taken.
        seconds: of one pass over a batch, by mode; a learning network's with its backward pass.
        errors: the largest relative error of an output, by mode; infinite where it gives no finite output, or none.
        refused: modes whose error is beyond the tolerance.
        tolerance: of the error.
    """

    mode: ForwardMode
    seconds: Mapping[str, float]
    errors: Mapping[str, float]
    refused: tuple[str, ...]
    tolerance: float = TOLERANCE

    def in_words(self, name: str) -> str:
        """One line on what was taken, what it saves, and what was refused.

        >>> seconds, errors = {"float32": 0.3, "bf16": 0.2, "bf16+folded": 0.1}, {"bf16": 0.01, "bf16+folded": 0.041}
        >>> ModeChoice(ForwardMode("bf16"), seconds, errors, ("bf16+folded",)).in_words("teacher")
        'precision of teacher: bf16, 1.5 times as fast as float32; refused: bf16+folded (error 0.041, allowed 0.03)'
        """
        pace = self.seconds["float32"] / self.seconds[str(self.mode)]
        taken = (
            f"{pace:.1f} times as fast as float32"
            if self.mode != ForwardMode()
            else "no other that agrees saves enough time"
        )
        refused = ", ".join(f"{mode} ({self._why(mode)})" for mode in self.refused)
        return f"precision of {name}: {self.mode}, {taken}{f'; refused: {refused}' if refused else ''}"

    def _why(self, mode: str) -> str:
        if mode not in self.seconds:
            return "failed"
        error = self.errors[mode]
        return f"error {error:.2g}, allowed {self.tolerance:g}" if math.isfinite(error) else "no finite output"


def choose_modes(
    recipe: Recipe,
    networks: Mapping[str, AnyNetwork],
    views: Mapping[str, Tensor],
    features: Mapping[str, Sequence[str]],
    steps: int,
    tolerance: float = TOLERANCE,
    graphs: bool = False,
) -> dict[str, ModeChoice]:
    """Measure the modes of every network and choose. The networks themselves stay as they are.

    Args:
        views: of each network's images, (V·n, 3, S, S), on the device where it will run.
        features: feature points that objectives ask of each network.
        steps: left in the run.
        graphs: whether CUDA graphs are tried.
    """
    return {
        name: _choose(recipe, name, network, views[name], features.get(name, ()), steps, tolerance, graphs)
        for name, network in networks.items()
    }


def _choose(
    recipe: Recipe,
    name: str,
    network: AnyNetwork,
    images: Tensor,
    features: Sequence[str],
    steps: int,
    tolerance: float,
    graphs: bool,
) -> ModeChoice:
    frozen, learns = recipe.networks[name].frozen is True, recipe.networks[name].learns
    network = copy.deepcopy(network).to(images.device)
    modes = [ForwardMode("float32"), ForwardMode("bf16")]
    if frozen and isinstance(network, Network) and fold_batch_norms(network, features)[1]:
        modes += [replace(mode, folded=True) for mode in modes]

    def prepared(mode: ForwardMode) -> NetworkPass:
        own = network if frozen else copy.deepcopy(network)
        return NetworkPass(own, mode, frozen=frozen, features=features, images=len(images))

    passes = {str(mode): prepared(mode) for mode in modes}
    expected = _outputs(passes["float32"], images, features)
    errors = {text: _error(_outputs(one_pass, images, features), expected) for text, one_pass in passes.items()}
    seconds = _seconds({text: _work(one_pass, images, features, learns) for text, one_pass in passes.items()})

    def attempt(mode: ForwardMode) -> bool:
        """Measure a mode that may fail on this machine."""
        try:
            one_pass = prepared(mode)
            errors[str(mode)] = _error(_outputs(one_pass, images, features), expected)
            seconds.update(_seconds({str(mode): _work(one_pass, images, features, learns)}))
        except BrokenRecordingError:  # after which nothing else can be tried
            raise
        except Exception as error:  # compilers and recorders fail in many ways, and the run needs none of them
            warnings.warn(
                f"precision: {name} cannot run in {mode} here and runs without it ({error!r:.200})",
                PreceptorWarning,
                stacklevel=4,
            )
            errors[str(mode)] = math.inf
            return False
        return True

    for mode in modes if graphs else ():
        attempt(replace(mode, graphed=True))
    best = _fastest(seconds, errors, tolerance)
    if has_compiler() and seconds[best] * steps > COMPILE_FROM:
        began = time.perf_counter()
        compiled = replace(ForwardMode.parse(best), compiled=True, graphed=False)
        if attempt(compiled):
            repaid = (seconds[best] - seconds[str(compiled)]) * steps > time.perf_counter() - began
            best = _fastest(seconds, errors, tolerance) if repaid else best
    refused = tuple(text for text, error in errors.items() if not error <= tolerance)
    return ModeChoice(ForwardMode.parse(best), seconds, errors, refused, tolerance)


def _fastest(seconds: Mapping[str, float], errors: Mapping[str, float], tolerance: float) -> str:
    """Return the fastest mode that agrees; float32 unless another saves enough."""
    agreeing = [mode for mode in seconds if errors[mode] <= tolerance]
    best = min(agreeing, key=seconds.__getitem__)
    return best if seconds[best] <= (1 - LEAST_GAIN) * seconds["float32"] else "float32"


def _work(one_pass: NetworkPass, images: Tensor, features: Sequence[str], learns: bool) -> Callable[[], object]:
    if not learns:
        return lambda: one_pass(images, features)

    def forward_and_backward() -> None:
        one_pass.network.train()
        total = torch.stack([value.mean() for value in one_pass(images, features).tensors()]).sum()
        total.backward()  # type: ignore[no-untyped-call]

    return forward_and_backward


@torch.no_grad()
def _outputs(one_pass: NetworkPass, images: Tensor, features: Sequence[str]) -> NetworkOutput:
    """Outputs in evaluation mode, where dropout draws nothing and no statistics move."""
    one_pass.network.eval()
    return one_pass(images, features)


def _error(output: NetworkOutput, expected: NetworkOutput) -> float:
    pairs = zip(output.tensors(), expected.tensors(), strict=True)
    return max(relative_error(value, wanted) for value, wanted in pairs if wanted.numel())


def _seconds(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The least time of each work in a few turns, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    state = torch.get_rng_state()
    for _ in range(1 + ROUNDS):
        for name, work in works.items():
            _wait()
            began = time.perf_counter()
            work()
            _wait()
            times[name].append(time.perf_counter() - began)
    torch.set_rng_state(state)
    return {name: min(taken[1:]) for name, taken in times.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
