"""Any of our kernels inside ``pyro.infer.MCMC``."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor
from torch.distributions import Transform

from .binding import bound_to
from .kernels.base import Kernel
from .kernels.capabilities import check_kernel, tuning_of
from .kernels.starts import check_start
from .noise.keyed import KeyedSource
from .potentials.angles import wrapped
from .potentials.initialization import InitStrategy, first_position
from .potentials.trace import LatentSite, Model, Substitute, evaluation_mode, run
from .speed import CapturingEvaluator
from .warmup.windows import adapt, start_warmup


class PyroKernel(MCMCKernel):
    """Run a kernel, for all examples at once, as ``pyro.infer.MCMC(PyroKernel(model, MALA()))``.

    What a kernel adapts, it adapts for each example in MCMC's warmup; it is frozen after it. The
    noise is keyed by a seed that is drawn from torch's random state in ``setup``, so
    ``pyro.set_rng_seed`` reproduces a run.

    Parameters
    ----------
    model : callable
        Any Pyro model with an example plate.
    kernel : Kernel
        ``MALA()``, ``HMC()``, ...
    example_plate : str, optional
        Name of the plate over examples, where it is not the only one.
    init_strategy : callable, optional
        One of ``pyro.infer.autoguide.initialization``.
    """

    def __init__(
        self,
        model: Model,
        kernel: Kernel[Any],
        *,
        example_plate: str | None = None,
        init_strategy: InitStrategy | None = None,
    ) -> None:
        check_kernel(kernel)
        self.model = model
        self.kernel = kernel
        self.example_plate = example_plate
        self.init_strategy = init_strategy
        self.transforms: dict[str, Transform] = {}
        self._initial: dict[str, Tensor] = {}
        self._accepted = 0.0
        self._diverging = 0
        self._steps = 0
        self._warmup_steps = 0

    def setup(self, warmup_steps: int, *args: Any, **kwargs: Any) -> None:
        """Bind the model to MCMC's arguments and place the chain."""
        self._potential = bound_to(
            self.model, args, kwargs, CapturingEvaluator(self.model), self.example_plate
        )
        seed = int(torch.randint(2**62, ()))
        position = first_position(self._potential, 1, seed, self.init_strategy)[:, 0]
        example = torch.arange(len(position), device=position.device)
        self._source = KeyedSource.of_chains(seed, example, 1)
        supports = Substitute(self._potential.unflatten(position))
        with torch.no_grad():
            run(self.model, self._potential.data, supports)
        self.transforms = supports.transforms
        self._initial = self._split(position)
        self._warmup_steps = warmup_steps
        with evaluation_mode(self.model):
            self._state = self._started(position)
        self._warmup = start_warmup(self.kernel, self._state, 1)
        self._last: Mapping[str, Tensor] | None = None
        self._accepted, self._diverging, self._steps = 0.0, 0, 0

    def _started(self, position: Tensor) -> Any:
        state = self.kernel.init(position, self._potential)
        check_start(self.kernel, state)
        return state

    def _split(self, position: Tensor) -> dict[str, Tensor]:
        return OrderedDict(
            (site.name, self._columns(site, position).reshape(-1, *site.shape))
            for site in self._potential.layout.sites
        )

    @staticmethod
    def _columns(site: LatentSite, position: Tensor) -> Tensor:
        columns = position[:, site.start : site.stop]
        return wrapped(columns) if site.is_angle else columns

    @property
    def initial_params(self) -> dict[str, Tensor]:
        """Unconstrained starting values by site name."""
        return self._initial

    @initial_params.setter
    def initial_params(self, params: dict[str, Tensor]) -> None:
        self._initial = params

    def sample(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the next unconstrained values by site name."""
        with evaluation_mode(self.model):
            if params is not self._last:
                n = self._potential.num_examples
                position = torch.cat(
                    [params[site.name].reshape(n, -1) for site in self._potential.layout.sites], 1
                )
                tuning = tuning_of(self.kernel, self._state)
                self._state = self._started(position)._replace(**tuning)
            self._state, info = self.kernel.step(
                self._state, self._potential, self._source.at(self._steps)
            )
        self._last = self._split(self._state.position)
        self._steps += 1
        # MCMC does not say when warmup ends, so the steps are counted here.
        if self._steps <= self._warmup_steps:
            self._state, self._warmup = adapt(
                self.kernel,
                self._state,
                self._warmup,
                info,
                1,
                self._steps - 1,
                self._warmup_steps,
            )
        else:
            self._accepted += float(info.acceptance_rate.nanmean())
            self._diverging += int(info.diverging.sum())
        return self._last

    @property
    def _acceptance_rate(self) -> float:
        return self._accepted / max(self._steps - self._warmup_steps, 1)

    def logging(self) -> "OrderedDict[str, str]":
        """Return what MCMC's progress bar shows."""
        return OrderedDict(
            [
                ("step size", f"{float(self._state.step_size.median()):.2e}"),
                ("acc. prob", f"{self._acceptance_rate:.3f}"),
            ]
        )

    def diagnostics(self) -> dict[str, Any]:
        """Return the mean acceptance rate, the step sizes and the number of divergences."""
        return {
            "acceptance rate": self._acceptance_rate,
            "step size": self._state.step_size,
            "divergences": self._diverging,
        }

    def cleanup(self) -> None:
        """Forget the last draw, so that a new run starts from its own initial values."""
        self._last = None
