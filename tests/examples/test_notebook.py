"""The notebook of the examples, run from top to bottom by a kernel as Jupyter starts it, interrupted, and restarted."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from helpers import eventually
from programs import EXAMPLES

from mps3 import MPS3

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Jupyter's own
    import nbformat
    from nbclient import NotebookClient

NOTEBOOK = EXAMPLES / "notebook.ipynb"

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside the tests"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter|nb|zmq|tornado|traitlets)"),
]


class Session:
    """A notebook and its kernel.

    Attributes:
        cells: Those that hold code, with the outputs of the last run.
    """

    def __init__(self, client: NotebookClient) -> None:
        self._client = client
        self.cells = [cell for cell in client.nb.cells if cell.cell_type == "code"]

    def find(self, text: str) -> int:
        """Which cell has this in its source."""
        (found,) = [number for number, cell in enumerate(self.cells) if text in cell.source]
        return found

    async def run(self, number: int) -> None:
        """Run a cell, which must not fail."""
        cell = self.cells[number]
        await self._client.async_execute_cell(cell, self._client.nb.cells.index(cell))

    async def run_all(self) -> None:
        """Run from top to bottom."""
        for number in range(len(self.cells)):
            await self.run(number)

    def outputs(self, number: int) -> str:
        """What a cell has printed and shown."""
        return "".join(
            output.get("text", "") or output.data.get("text/html") or output.data.get("text/plain", "")
            for output in self.cells[number].outputs
        )

    async def interrupt(self) -> None:
        await self._client.km.interrupt_kernel()

    async def restart(self) -> None:
        """As the button does: the kernel is asked to end, and another one is started."""
        await self._client.km.restart_kernel(now=False)
        await self._client.kc.wait_for_ready(timeout=60)
        for cell in self.cells:
            cell.outputs = []


@pytest.fixture
async def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    """The notebook with a kernel, which must not complain of anything, also when it ends."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONWARNINGS": "default::ResourceWarning"}
    client = NotebookClient(nbformat.read(NOTEBOOK, 4), kernel_name="python3", timeout=120)
    with (tmp_path / "stderr").open("w+") as stderr:
        async with client.async_setup_kernel(env=environment, stderr=stderr):
            yield Session(client)
            await client.km.shutdown_kernel()
        stderr.seek(0)
        complaints = [line for line in stderr if "Kernel is running over TCP without encryption" not in line]
    assert "".join(complaints).strip() == ""


def store(tmp_path: Path) -> MPS3:
    """Where the notebook keeps the votes."""
    return MPS3.from_url((tmp_path / "mps3-notebook").as_uri(), journal="log", poll_interval=0.1)


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


async def test_it_runs_from_top_to_bottom(session: Session, tmp_path: Path) -> None:
    await session.run_all()
    assert "votes so far" in (shown := session.outputs(session.find("client.watch")))
    assert "<td>blue</td>" in shown
    assert "<polyline" in session.outputs(session.find("client.history"))
    assert (
        session.outputs(len(session.cells) - 1)
        == f"<MPS3 manifest.json in {(tmp_path / 'mps3-notebook').as_uri()}, closed>"
    )
    async with store(tmp_path) as client:
        votes: dict[str, Any] = await client.get_all(prefix="votes/")
        assert sum(votes.values()) > 1


async def test_a_live_cell_is_interrupted_and_the_kernel_restarted(session: Session, tmp_path: Path) -> None:
    settings, live = session.find("seconds = 5"), session.find("client.watch")
    session.cells[settings].source = session.cells[settings].source.replace("seconds = 5", "seconds = 600")
    # Called after all that is registered later.
    session.cells[
        settings
    ].source += f"\natexit.register(lambda: Path({str(tmp_path / 'end')!r}).write_text(repr(client)))"
    for number in range(live):
        await session.run(number)
    running = asyncio.create_task(session.run(live))
    await eventually(lambda: "<td>blue</td>" in session.outputs(live), within=60)
    async with store(tmp_path) as client:
        await client.put("votes/<b>", 1000)  # another program; it is seen at once
        await eventually(lambda: "<td>&lt;b&gt;</td><td>1000</td>" in session.outputs(live), within=60)
        await session.interrupt()
        await running
        assert "votes so far" in session.outputs(live)

        await session.run(session.find("client.history"))  # the client is as it was

    await session.restart()
    assert (tmp_path / "end").read_text() == f"<MPS3 manifest.json in {(tmp_path / 'mps3-notebook').as_uri()}, closed>"

    session.cells[settings].source = session.cells[settings].source.replace("seconds = 600", "seconds = 1")
    await session.run_all()
    assert "<td>&lt;b&gt;</td><td>1000</td>" in session.outputs(live)
    for number in range(live + 1):  # and once more, in the same kernel, over what is open
        await session.run(number)
