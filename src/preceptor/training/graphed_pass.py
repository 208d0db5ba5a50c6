"""A network's forward and backward pass as two CUDA graphs.

The GPU waits for the host in a small network, whose kernels the host launches one by one; a graph launches all of them
at once. The same kernels run on tensors that stay where they were when the graph was recorded. Gradients differ in the
last bits from those of an ordinary pass where a loss reads a feature in the middle of the network: what comes back
there is added up in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from preceptor.networks.output import NetworkOutput
from preceptor.training.cuda_graphs import Recorder, cuda_recorder, unchanged, warm_up


class GraphedPass:
    """One network's pass over images of one shape, recorded once and then repeated with other images.

    Outputs and gradients are copies, which the next pass does not change. A parameter on which no output with a
    gradient depends gets none, as in an ordinary pass.

    Args:
        run: images to outputs, with autograd where it is enabled at this moment.
        module: the network behind ``run``. Its parameters and buffers must stay where they are in memory; recording
            does not change them.
        images: (B, 3, S, S), on the GPU; all later ones have this shape.

    Raises:
        UnrecordableError: the network reads a value back from the GPU, or draws random numbers on the host.
        BrokenRecordingError: it does something else that no graph can hold, or memory was short.
    """

    def __init__(self, run: Callable[[Tensor], NetworkOutput], module: nn.Module, images: Tensor) -> None:
        self.images = images.detach().clone()
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._passes = self._differentiated = 0
        with unchanged(module, images.device):
            if images.is_cuda:
                warm_up(partial(self._try, run))
            self._record(run, cuda_recorder())

    def _record(self, run: Callable[[Tensor], NetworkOutput], record: Recorder) -> None:
        attached: list[NetworkOutput] = []  # to autograd's graph

        def forward() -> list[Tensor]:
            attached[:] = [run(self.images)]
            return [output.detach() for output in attached[0].tensors()]

        outputs, self._repeat = record(forward)
        self.outputs = [output for output in outputs if output is not None]
        self.form = attached[0].with_tensors(self.outputs)
        self.learns = [output.requires_grad for output in attached[0].tensors()]
        self.behind = [_parameters_behind(output, self.parameters) for output in attached[0].tensors()]
        self.output_gradients = [torch.zeros_like(output) for output in self.outputs]
        self._zero = [True] * len(self.outputs)
        if any(self.learns):
            self.gradients, self._repeat_backward = record(
                lambda: self._differentiate(attached[0].tensors(), self.output_gradients)
            )
        attached.clear()  # else the nodes that add gradients up stay those of the stream of the recording

    def __call__(self, images: Tensor) -> NetworkOutput:
        """Return the outputs of images of the recorded shape."""
        if any(self.learns):
            return self.form.with_tensors(_Differentiable.apply(self, images, *self.parameters))
        return self.form.with_tensors(self.forward(images))

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
        outputs = run(self.images).tensors()
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
