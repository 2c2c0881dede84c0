"""CONTRIBUTING.md and the workflows: what a run in the cloud costs, and that the workflows are as GitHub wants them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from stores import modules, store
from stores.exam import cloud

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOLERANCE = 0.3
"""A change of the library may change the requests a little, and need not change the page."""

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="the workflows are not beside the tests")


def rows(name: str) -> list[list[str]]:
    """The cells of the table whose first title is this."""
    table = PAGE.read_text(encoding="utf-8").split(f"| {name} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def number(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text))


@pytest.mark.thorough
def test_a_run_in_the_cloud_costs_what_the_page_says():
    made, said = cloud.estimates(), rows("bucket")
    assert [row[0] for row in made] == [row[0] for row in said]
    for counted, told in zip(made, said, strict=True):
        requests = len(counted) - len(cloud.PRICES)
        for is_, on_the_page in zip(counted[1:requests], told[1:requests], strict=True):
            assert number(is_) == pytest.approx(number(on_the_page), rel=TOLERANCE, abs=200), (is_, on_the_page)
        for is_, on_the_page in zip(counted[requests:], told[requests:], strict=True):
            assert abs(number(is_) - number(on_the_page)) <= 1, (is_, on_the_page)


def test_every_provider_is_described():
    assert [row[0] for row in rows("provider")] == [f"`{name}`" for name in cloud.PRICES]
    (workflow,) = (path for path in WORKFLOWS if path.stem == "cloud")
    inputs = yaml.load(workflow.read_text(encoding="utf-8"), yaml.BaseLoader)["on"]["workflow_dispatch"]["inputs"]
    assert inputs["provider"]["options"] == list(cloud.PRICES)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_whole(path):
    found = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # in which `on` is no truth value
    assert {"name", "on", "jobs", "permissions"} <= {*found}
    for job in found["jobs"].values():
        assert job["runs-on"] and job["steps"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            # What others type must not become a part of a script.
            assert "${{ inputs." not in step.get("run", "") and "${{ github." not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_sessions_of_a_workflow_exist(path):
    sessions = set(
        re.findall(r"^def (\w+)\(session: nox", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
    )
    used = set(re.findall(r"nox -s ([a-z]+)", path.read_text(encoding="utf-8")))
    assert used <= sessions


def test_the_workflow_finds_every_server():
    """As the workflow's `grep` does."""
    sources = (ROOT / "tests" / "stores").glob("*.py")
    found = [
        path.stem for path in sources if re.search(r"^    source = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(found) == sorted(modules())
    assert all(store(name).source for name in found)


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_has_nothing_to_say():
    ran = subprocess.run(["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout
