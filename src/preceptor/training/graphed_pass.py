"""A network's forward and backward pass as two CUDA graphs.

The GPU waits for the host in a small network, whose kernels the host launches one by one; a graph launches all of them
at once. The same kernels run on tensors that stay where they were when the graph was recorded. Gradients differ in the
last bits from those of an ordinary pass where a loss reads a feature in the middle of the network: what comes back
there is added up in another order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from preceptor.networks.output import NetworkOutput
from preceptor.utils.errors import PreceptorError

#: What some work gave, and a function that repeats the work and writes what it gives into the same tensors.
Recorded = tuple[Sequence[Tensor | None], Callable[[], object]]
Recorder = Callable[[Callable[[], Sequence[Tensor | None]]], Recorded]
#: Passes before a graph is recorded, in which libraries set themselves up; the last shows what no graph can hold.
WARM_UP = 3


class UnrecordableError(PreceptorError):
    """A pass does what no graph can hold; nothing was recorded, and other modes can be tried."""


class BrokenRecordingError(PreceptorError):
    """A recording was broken off, after which torch's memory and generators on the GPU cannot be relied upon."""


class GraphedPass:
    """One network's pass over images of one shape, recorded once and then repeated with other images.

    Outputs and gradients are copies, which the next pass does not change. A parameter on which no output with a
    gradient depends gets none, as in an ordinary pass.

    Args:
        run: images to outputs, with autograd where it is enabled at this moment.
        module: the network behind ``run``. Its parameters and buffers must stay where they are in memory; recording
            does not change them.
        images: (B, 3, S, S), on the GPU; all later ones have this shape.
        record: records work, as CUDA graphs unless a test has no GPU.

    Raises:
        UnrecordableError: the network reads a value back from the GPU, or draws random numbers on the host.
        BrokenRecordingError: it does something else that no graph can hold, or memory was short.
    """

    def __init__(
        self, run: Callable[[Tensor], NetworkOutput], module: nn.Module, images: Tensor, record: Recorder | None = None
    ) -> None:
        self.images = images.detach().clone()
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._passes = self._differentiated = 0
        with _unchanged(module, images.device):
            if images.is_cuda:
                _warm_up(partial(self._try, run))
            self._record(run, record or cuda_recorder())

    def _record(self, run: Callable[[Tensor], NetworkOutput], record: Recorder) -> None:
        attached: list[NetworkOutput] = []  # to autograd's graph

        def forward() -> list[Tensor]:
            attached[:] = [run(self.images)]
            return [output.detach() for output in _tensors(attached[0])]

        outputs, self._repeat = record(forward)
        self.outputs = [output for output in outputs if output is not None]
        self.form = _filled(attached[0], self.outputs)
        self.learns = [output.requires_grad for output in _tensors(attached[0])]
        self.behind = [_parameters_behind(output, self.parameters) for output in _tensors(attached[0])]
        self.output_gradients = [torch.zeros_like(output) for output in self.outputs]
        self._zero = [True] * len(self.outputs)
        if any(self.learns):
            self.gradients, self._repeat_backward = record(
                lambda: self._differentiate(_tensors(attached[0]), self.output_gradients)
            )
        attached.clear()  # else the nodes that add gradients up stay those of the stream of the recording

    def __call__(self, images: Tensor) -> NetworkOutput:
        """Return the outputs of images of the recorded shape."""
        if any(self.learns):
            return _filled(self.form, _Differentiable.apply(self, images, *self.parameters))
        return _filled(self.form, self.forward(images))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Repeat the forward pass and return copies of its outputs."""
        self.images.copy_(images)
        self._repeat()
        self._passes += 1
        return tuple(output.clone() for output in self.outputs)

    def backward(self, number: int, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Repeat the backward pass of the last forward pass.

        Args:
            number: of that forward pass, from 1.
            gradients: of each output; None for one that no loss reads.

        Returns:
            Copies of the gradients of all parameters that learn, None where no output that a loss reads depends on one.

        Raises:
            RuntimeError: another forward pass, or an earlier backward pass, has taken the place of its activations.
        """
        if number != self._passes:
            raise RuntimeError("the activations of this pass are gone: the network has run again since")
        if number == self._differentiated:
            raise RuntimeError("the activations of this pass are gone: its gradients were computed before")
        self._differentiated = number
        reached: set[int] = set()
        for place, gradient in enumerate(gradients):
            if gradient is not None:
                self.output_gradients[place].copy_(gradient)
                reached |= self.behind[place]
            elif not self._zero[place]:
                self.output_gradients[place].zero_()
            self._zero[place] = gradient is None
        self._repeat_backward()
        given = {place: value for place, value in enumerate(self.gradients) if place in reached and value is not None}
        copies = dict(zip(given, torch._foreach_mul(list(given.values()), 1.0), strict=True)) if given else {}
        return [copies.get(place) for place in range(len(self.parameters))]

    @property
    def passes(self) -> int:
        """Forward passes so far."""
        return self._passes

    def _try(self, run: Callable[[Tensor], NetworkOutput]) -> None:
        outputs = _tensors(run(self.images))
        self._differentiate(outputs, [torch.zeros_like(output) for output in outputs])

    def _differentiate(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Sequence[Tensor | None]:
        pairs = [pair for pair in zip(outputs, gradients, strict=True) if pair[0].requires_grad]
        if not pairs:
            return ()
        learned, given = zip(*pairs, strict=True)
        return torch.autograd.grad(learned, self.parameters, given, allow_unused=True)


class _Differentiable(torch.autograd.Function):
    """A recorded pass as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, graphed: GraphedPass, images: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        outputs = graphed.forward(images)
        ctx.graphed, ctx.number = graphed, graphed.passes
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(out for out, learns in zip(outputs, graphed.learns, strict=True) if not learns))
        return outputs

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.graphed.backward(ctx.number, gradients)


def cuda_recorder() -> Recorder:
    """Return a recorder of CUDA graphs that share their memory, and are repeated in the order in which they were made.

    Other threads, such as one that copies batches ahead, may use the GPU meanwhile.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Sequence[Tensor | None]]) -> Recorded:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                given = work()
        except Exception as error:
            torch.cuda.set_stream(stream)  # which torch does not put back where a recording is broken off
            raise BrokenRecordingError(
                f"precision: the recording of CUDA graphs was broken off ({error.__context__ or error!s:.300})",
                remedy="leave +graphed out (name modes in place of auto), or lower batch_size if memory was short",
            ) from error
        return given, graph.replay

    return record


def _warm_up(work: Callable[[], object]) -> None:
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(WARM_UP - 1):
            work()
        with _nothing_read_back(), nothing_drawn_on_the_host():
            work()
    torch.cuda.synchronize()


@contextmanager
def _nothing_read_back() -> Iterator[None]:
    """Context manager: refuses work that reads a value back from the GPU, for which the host would wait."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        raise UnrecordableError(
            "precision: a pass that reads a value back from the GPU cannot be recorded as CUDA graphs",
            remedy="leave +graphed out, or compute it without .item(), nonzero() and the like",
        ) from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def nothing_drawn_on_the_host() -> Iterator[None]:
    """Context manager: refuses work that draws from torch's, Python's or numpy's generator on the host.

    A graph would repeat what was drawn when it was recorded. The generators are put back.

    Raises:
        UnrecordableError: one of them has moved.
    """
    of_torch, of_python, of_numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield
    moved = [
        name
        for name, has_moved in (
            ("torch's", not torch.equal(torch.get_rng_state(), of_torch)),
            ("Python's", random.getstate() != of_python),
            ("numpy's", str(np.random.get_state()) != str(of_numpy)),
        )
        if has_moved
    ]
    torch.set_rng_state(of_torch)
    random.setstate(of_python)
    np.random.set_state(of_numpy)
    if moved:
        raise UnrecordableError(
            f"precision: a pass that draws random numbers on the host ({', '.join(moved)}) cannot be recorded as CUDA "
            "graphs, which would repeat them",
            remedy="leave +graphed out, or draw on the images' device",
        )


@contextmanager
def _unchanged(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Context manager: afterwards the buffers and the state of the device's generator are what they were."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)


def _tensors(output: NetworkOutput) -> list[Tensor]:
    tensors: list[Tensor] = []
    output.map_tensors(lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return tensors


def _filled(form: NetworkOutput, tensors: Sequence[Tensor]) -> NetworkOutput:
    """An output of the same form that holds these tensors, in the order of :func:`_tensors`."""
    values = iter(tensors)
    return form.map_tensors(lambda _: next(values))


def _parameters_behind(output: Tensor, parameters: Sequence[Tensor]) -> set[int]:
    """Return the places of the parameters that an output depends on, from autograd's graph."""
    places = {id(parameter): place for place, parameter in enumerate(parameters)}
    visited, waiting, behind = set(), [output.grad_fn] if output.grad_fn is not None else [], set()
    while waiting:
        node = waiting.pop()
        if node in visited:
            continue
        visited.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) in places:
            behind.add(places[id(variable)])
        waiting += [before for before, _ in node.next_functions if before is not None]
    return behind
