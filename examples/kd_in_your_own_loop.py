"""Logit distillation in a training loop of your own: Preceptor gives the loss, and nothing else is its.

python examples/kd_in_your_own_loop.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from preceptor.losses import KLDivergence

CLASSES, SIZE, EPOCHS = 4, 16, 30


def images(count: int, seed: int) -> TensorDataset:
    """Noise with a bright quarter, whose place is the class. Put your own data set here."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    pixels = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    half = SIZE // 2
    for image, label in zip(pixels, labels.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] += 0.12
    return TensorDataset(pixels, labels)


def network(width: int) -> nn.Module:
    """A convolutional network; any module from images to logits will do."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, CLASSES),
    )  # fmt: skip


def train(student: nn.Module, data: TensorDataset, teacher: nn.Module | None = None) -> nn.Module:
    """Train on the labels and, where there is a teacher, on its softened predictions."""
    labels_loss, distillation = nn.CrossEntropyLoss(), KLDivergence(temperature=4.0)
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
    batches = DataLoader(data, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))
    for _ in range(EPOCHS):
        for pixels, labels in batches:
            logits = student(pixels)
            loss = labels_loss(logits, labels)
            if teacher is not None:
                with torch.no_grad():
                    target = teacher(pixels)
                loss = 0.5 * loss + 0.5 * distillation(logits, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return student.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data: TensorDataset) -> float:
    pixels, labels = data.tensors
    right: Tensor = model(pixels).argmax(1) == labels
    return right.double().mean().item()


def main() -> None:
    torch.manual_seed(0)
    few, many, test = images(128, seed=0), images(2000, seed=1), images(1000, seed=2)
    teacher = train(network(32), many)
    torch.manual_seed(1)
    alone = train(network(8), few)
    torch.manual_seed(1)  # the same start
    distilled = train(network(8), few, teacher)
    for name, model in (("teacher", teacher), ("student alone", alone), ("student distilled", distilled)):
        print(f"{name:18} {accuracy(model, test):.3f}")


if __name__ == "__main__":
    main()
