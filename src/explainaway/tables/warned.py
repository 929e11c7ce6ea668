"""Warnings that point at the line of whoever called."""

import inspect
import os
import warnings
from pathlib import Path

import joblib
import pandas as pd
import sklearn

LIBRARIES = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(__file__).parents[1],
        *(Path(str(library.__file__)).parent for library in (sklearn, joblib, pd)),
    )
)
"""Folders of what stands between a caller and a warning: scikit-learn wraps methods, pipelines and
grids run them in joblib, ``frame.pipe`` calls them."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the first line on the stack that is not in one of these libraries."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)
