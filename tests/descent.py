"""Plain training of a task by SGD, for tests of what is trained."""

import numpy as np
import torch


def descend(task, *, epochs, batch, rate, clip=1e9):
    """Train with a linear warm-up of 20 steps and a linear end."""
    weights = list(task.model.parameters())
    optimiser = torch.optim.SGD(weights, rate, momentum=0.9, weight_decay=1e-4)
    order, steps = np.random.default_rng(0), epochs * (len(task) // batch)
    task.model.train()
    for step in range(steps):
        if step % (len(task) // batch) == 0:
            batches = order.permutation(len(task))[: len(task) // batch * batch].reshape(-1, batch)
        optimiser.param_groups[0]["lr"] = rate * min((step + 1) / 20, 1, 3 * (1 - step / steps))
        loss, _ = task.loss(batches[step % len(batches)], slice(0, batch))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()


def check_parts(model, make_task):
    """Parts of a batch have the batch's mean loss, draw the same, and reach every weight of the model."""
    freeze_norms(model)
    losses = {}
    for part in ((0, 4), (0, 2), (2, 4)):
        task = make_task(np.random.default_rng(0))
        losses[part] = task.loss(np.array([5, 1, 7, 3]), slice(*part))[0]
        states = task.generators[0].bit_generator.state["state"]
        assert states == losses.setdefault("states", states)
    assert abs(losses[0, 4].item() - (losses[0, 2] + losses[2, 4]).item() / 2) <= 1e-5 * losses[0, 4].item()
    losses[0, 4].backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []


def freeze_norms(model):
    """Training mode but for normalisation, so that an image knows nothing of the others."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
