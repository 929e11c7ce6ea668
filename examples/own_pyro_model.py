"""A Pyro model of your own: no base class, constrained latents, ``pyro.param``.

Each digit image is a table of 64 counts (0 to 16, how much ink fell into each cell). The model says
that every image mixes a few parts, shared by all images:

    ink_i ~ Gamma,  mix_i ~ Dirichlet,  counts_i ~ Poisson(ink_i * mix_i @ parts)

``ink`` and ``mix`` are latents of each image with constrained support, moved to unconstrained space
by the library; ``parts`` is a ``pyro.param`` that it learns.

    python examples/own_pyro_model.py [--smoke]
"""

import argparse
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from sklearn.datasets import load_digits
from torch import Tensor

from explainaway.inference import AlternatingBackProp, sample_posterior
from explainaway.plots import save_panels, tile

NUM_PARTS = 12


def ink_and_parts(counts: Tensor) -> None:
    """Images as Poisson counts around a mixture of shared parts."""
    parts = pyro.param(
        "parts",
        lambda: torch.rand(NUM_PARTS, 64) + 1.0,
        constraint=constraints.positive,
    )
    parts = parts / parts.sum(1, keepdim=True)
    with pyro.plate("images", len(counts)):
        ink = pyro.sample("ink", dist.Gamma(10.0, 10.0 / 310.0))
        mix = pyro.sample("mix", dist.Dirichlet(torch.full((NUM_PARTS,), 0.5)))
        rate = ink[:, None] * (mix @ parts) + 1e-3
        pyro.sample("counts", dist.Poisson(rate).to_event(1), obs=counts)


def main() -> None:
    """Learn the parts and show them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds instead of a minute")
    parser.add_argument("--output", type=Path, default=Path("demo"))
    options = parser.parse_args()
    torch.manual_seed(0)
    pyro.clear_param_store()
    images = torch.tensor(load_digits().images, dtype=torch.float32).flatten(1)
    train, test = images[: 200 if options.smoke else 1437], images[1437:1477]

    abp = AlternatingBackProp(ink_and_parts)
    fit = abp.fit(train, epochs=3 if options.smoke else 60, seed=0)
    print(f"loss {fit.history['loss'][0]:.1f} -> {fit.history['loss'][-1]:.1f} nats per image")

    posterior = sample_posterior(
        ink_and_parts,
        test,
        warmup_steps=20 if options.smoke else 500,
        num_samples=20 if options.smoke else 1000,
        seed=1,
    )
    print(posterior.summary())
    ink = posterior.get_samples()["ink"].mean(0)
    print(
        f"ink: posterior mean against the counts' sum, correlation "
        f"{np.corrcoef(ink.numpy(), test.sum(1).numpy())[0, 1]:.3f}"
    )

    options.output.mkdir(parents=True, exist_ok=True)
    parts = pyro.param("parts").detach()
    parts = parts / parts.amax(1, keepdim=True)
    path = save_panels(
        options.output / "own_pyro_model.png",
        {"the learned parts": tile(parts.reshape(-1, 8, 8).numpy(), NUM_PARTS)},
        limits={"the learned parts": (0.0, 1.0)},
    )
    print(f"picture {path}")


if __name__ == "__main__":
    main()
