"""The recipe that the reference sets' weights come from."""

import json
from pathlib import Path

from tests.smartedit.model.recipe import recipe_tensor


def test_first_values_of_the_check_tensor() -> None:
    path = Path(__file__).parents[2] / "golden" / "recipe_check.json"
    check = json.loads(path.read_text(encoding="utf-8"))
    tensor = recipe_tensor(check["recipe_seed"], check["name"], check["shape_used"], check["a"], check["offset"])
    assert tensor.flatten()[:4].tolist() == check["first4"]
