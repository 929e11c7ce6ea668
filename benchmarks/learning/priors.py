"""Normal priors, learned where the library can do that."""

import inspect

from explainaway.models import Normal


class NotAvailableError(Exception):
    """Something that a candidate asks for is not there in this version."""


def normal_prior_of(dim: int, learn: bool) -> Normal:
    """Return ``Normal(dim)``, or ``Normal(dim, learn=True)``.

    Raises
    ------
    NotAvailableError
        If this version's normal prior cannot be learned.
    """
    if not learn:
        return Normal(dim)
    if "learn" not in inspect.signature(Normal.__init__).parameters:
        raise NotAvailableError("Normal(d, learn=True)")
    more = {"learn": True}
    return Normal(dim, **more)
