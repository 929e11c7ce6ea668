"""ArviZ 1.x takes what we write. Run by ``make test-arviz-1``, without torch and the library."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

az = pytest.importorskip("arviz", minversion="1.0")


def _module() -> ModuleType:
    path = Path(__file__).parents[2] / "inference" / "diagnostics" / "arviz.py"
    spec = importlib.util.spec_from_file_location("explainaway_arviz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _groups() -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(0)
    draws, lp = rng.normal(size=(4, 50, 5, 2)), rng.normal(size=(4, 50, 5))
    y = rng.normal(size=(5, 3, 4))
    y[0, 0, 0] = np.nan
    return {
        "posterior": {"z": draws},
        "sample_stats": {"lp": lp, "energy": -lp, "diverging": lp > 2.5},
        "observed_data": {"y": y},
        "constant_data": {"exposure": rng.uniform(size=5)},
        "posterior_predictive": {"y": rng.normal(size=(4, 10, 5, 3, 4))},
        "prior": {"z": rng.normal(size=(1, 20, 5, 2))},
        "prior_predictive": {"y": rng.normal(size=(1, 20, 5, 3, 4))},
        "log_likelihood": {"y": rng.normal(size=(4, 10, 5))},
    }


def test_all_groups_dimensions_and_coordinates() -> None:
    tree = _module().to_arviz(
        _groups(),
        5,
        dims={"z": ["component"], "y": ["row", "column"]},
        coords={"row": ["a", "b", "c"]},
        example_labels=list("vwxyz"),
    )
    assert type(tree).__name__ == "DataTree"
    assert set(tree.children) == set(_groups())
    assert tree["posterior"]["z"].dims == ("chain", "draw", "example", "component")
    assert list(tree["posterior"]["example"].values) == list("vwxyz")
    assert tree["posterior_predictive"]["y"].dims == ("chain", "draw", "example", "row", "column")
    assert tree["observed_data"]["y"].dims == ("example", "row", "column")
    assert list(tree["observed_data"]["row"].values) == ["a", "b", "c"]
    assert tree["constant_data"]["exposure"].dims == ("example",)
    assert tree["log_likelihood"]["y"].dims == ("chain", "draw", "example")
    assert tree["prior"]["z"].shape == (1, 20, 5, 2)
    assert tree["sample_stats"]["diverging"].dtype == bool


def test_one_example_has_no_example_dimension() -> None:
    tree = _module().to_arviz(_groups(), 5, examples=[3])
    assert tree["posterior"]["z"].dims == ("chain", "draw", "z_dim_0")
    np.testing.assert_array_equal(
        tree["posterior"]["z"].values, _groups()["posterior"]["z"][:, :, 3]
    )


def test_statistics_and_plots_take_it() -> None:
    module = _module()
    tree, one = module.to_arviz(_groups(), 5), module.to_arviz(_groups(), 5, examples=[2])
    assert len(az.summary(tree, var_names=["z"])) == 10
    az.plot_trace(one, var_names=["z"])
    az.plot_rank(one, var_names=["z"])
    az.plot_energy(one)
    assert np.isfinite(az.bfmi(one)["energy"].values).all()


def test_netcdf_round_trip(tmp_path: Path) -> None:
    tree = _module().to_arviz(_groups(), 5)
    tree.to_netcdf(str(tmp_path / "posterior.nc"))
    again = az.from_netcdf(str(tmp_path / "posterior.nc"))
    for group in _groups():
        for name in tree[group].data_vars:
            np.testing.assert_array_equal(again[group][name].values, tree[group][name].values)


def test_names_that_dimensions_have_are_changed() -> None:
    rng = np.random.default_rng(0)
    groups = {
        "posterior": {
            "chain": rng.normal(size=(2, 9, 5, 2)),
            "inner/z": rng.normal(size=(2, 9, 5)),
        },
        "sample_stats": {"lp": rng.normal(size=(2, 9, 5))},
        "observed_data": {"draw": rng.normal(size=5)},
        "log_likelihood": {"draw": rng.normal(size=(2, 9, 5))},
    }
    tree = _module().to_arviz(groups, 5)
    assert set(tree["posterior"].data_vars) == {"chain_site", "inner.z"}
    assert set(tree["observed_data"].data_vars) == {"draw_site"}
    assert set(tree["log_likelihood"].data_vars) == {"draw_site"}


def test_bytes_behind_a_file_are_passed_over(tmp_path: Path) -> None:
    """A posterior's file has there what it needs to go on, and its checksum."""
    path = tmp_path / "posterior.nc"
    _module().to_arviz(_groups(), 5).to_netcdf(str(path))
    with path.open("ab") as file:
        file.write(bytes(range(256)) * 100)
    again = az.from_netcdf(str(path))
    np.testing.assert_array_equal(again["posterior"]["z"].values, _groups()["posterior"]["z"])
