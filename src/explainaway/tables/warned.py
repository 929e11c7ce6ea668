"""Warnings that point at the line of whoever called."""

import inspect
import warnings
from pathlib import Path

import sklearn

LIBRARIES = f"{Path(__file__).parents[1]}/", f"{Path(str(sklearn.__file__)).parent}/"
"""Folders of what stands between a caller and a warning: scikit-learn wraps methods."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the first line on the stack that is not in a library's file."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)
