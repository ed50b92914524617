"""Trains the backbone of the miniature's LPIPS: SqueezeNet 1.1 learns what drawn cut-outs show."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy

from reason_edit.files import atomic_path
from smartedit.miniature.fit.autoencoder import signed
from smartedit.miniature.fit.looks import Looks
from smartedit.miniature.fit.pairs import batches
from smartedit.miniature.fit.schedule import Journal, Plan, cosine, resume, save_state
from smartedit.training.saving import full_disk_in_plain

FEATURES = "features.safetensors"


def fit_perceptual(looks: Looks, plan: Plan, out: Path) -> Path:
    """Train SqueezeNet 1.1 to name cut-outs; what is kept are its convolutions, as torchvision names them.

    The linear heads of LPIPS are not trained anew: they are those of the `lpips` package, learned for other features.

    Args:
        looks: Cut-outs and their labels.
        plan: Steps, batch, learning rate and seed.
        out: Where the features are written.
    """
    from torchvision.models import squeezenet1_1

    file = out / FEATURES
    if file.is_file():
        return file
    torch.manual_seed(plan.seed)
    names = sorted(set(looks.labels))
    classes = torch.tensor([names.index(label) for label in looks.labels])
    network: nn.Module = squeezenet1_1(weights=None, num_classes=len(names)).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=0.01)
    step, journal = resume(out, network, optimizer), Journal(out, plan)
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for rows in batches(len(classes), size=plan.batch_size, steps=plan.steps, start=step, seed=plan.seed):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        torch.manual_seed(plan.seed * 10**6 + step)  # of the classifier's dropout
        pixels = ((signed(looks.cutouts[rows]) + 1) / 2 - mean.view(3, 1, 1)) / spread.view(3, 1, 1)
        scores = network(pixels)
        loss = cross_entropy(scores, classes[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        journal.note(step, loss=loss.item(), right=(scores.argmax(dim=1) == classes[rows]).float().mean().item())
        if step % plan.save_every == 0:
            save_state(out, network, optimizer, step)
    kept = {name: w.contiguous() for name, w in network.state_dict().items() if name.startswith("features.")}
    with atomic_path(file) as part, full_disk_in_plain(file):
        save_file(kept, part)
    return file
