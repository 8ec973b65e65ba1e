"""A fresh Jupyter kernel for one notebook: started, fed cell by cell, always stopped."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets.config import Config

from internals.files import scratch_folder

_SOCKET_PATH = 90  # bytes: the limit of a Unix socket's path is little more
# IPython would take prompts for its own and blanks for nothing, also within strings; a chapter is
# plain Python.
_PLAIN_PYTHON = (
    "get_ipython().input_transformer_manager.__dict__"
    ".update(cleanup_transforms=[], line_transforms=[], token_transformers=[])"
)
_POLL = 0.5  # seconds between two checks whether to stop


class _ThisPython(KernelSpecManager):
    """The kernel is this interpreter, whatever kernels are installed on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv.append(f"--IPKernelApp.exec_lines={[_PLAIN_PYTHON]!r}")
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


@dataclass(frozen=True)
class Watch:
    """Callbacks of an execution.

    Attributes:
        started: Called with a cell's index before it is executed.
        ended: Called with a cell's index after it was executed.
        printed: Called with each piece of text that a cell prints.
        stopped: Polled; the execution ends when it is true. Ctrl-C reaches the main thread only.
    """

    started: Callable[[int], None]
    ended: Callable[[int], None]
    printed: Callable[[str], None]
    stopped: Callable[[], bool] = lambda: False


class _Client(NotebookClient):
    watch: Watch

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stdout":
            self.watch.printed(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)


def run_cells(
    notebook: Any,
    folder: Path,
    environment: Mapping[str, str],
    timeout: int | None,
    watch: Watch,
) -> None:
    """Execute `notebook` in place in a fresh kernel, which is stopped in every case.

    Args:
        notebook: The notebook; its outputs are replaced.
        folder: The kernel's working directory.
        environment: Variables that are added to this process's own.
        timeout: Seconds that a cell may take; None for no limit.
        watch: The callbacks.

    Raises:
        CellExecutionError: A cell failed (as nbclient raises it).
        CellTimeoutError: A cell ran out of time.
        DeadKernelError: The kernel died.
    """
    with scratch_folder() as sockets:
        config = Config()
        if os.name != "nt" and len(os.fsencode(sockets)) < _SOCKET_PATH:
            # Each kernel has its own folder: kernels started together would share a socket.
            config.KernelManager.transport = "ipc"
            config.KernelManager.ip = f"{sockets}/s"
        manager = AsyncKernelManager(config=config, kernel_spec_manager=_ThisPython())
        client = _Client(
            notebook,
            km=manager,
            timeout=timeout,
            record_timing=True,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=lambda cell, cell_index: watch.started(cell_index),
            on_cell_executed=lambda cell, cell_index, execute_reply: watch.ended(cell_index),
        )
        client.watch = watch
        client.owns_km = True  # so that the client stops the kernel at the end
        _execute(client, manager, {**os.environ, **environment})


def _execute(client: _Client, manager: AsyncKernelManager, environment: dict[str, str]) -> None:
    """Run the client in a thread of its own; in the main one it would catch Ctrl-C."""
    # nbclient leaves an unfinished task behind when a kernel dies, which asyncio would log.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with ThreadPoolExecutor(max_workers=1) as pool:
        finished = pool.submit(client.execute, env=environment)
        try:
            while not wait([finished], timeout=_POLL).done:
                if client.watch.stopped():
                    raise KeyboardInterrupt
            finished.result()
        except KeyboardInterrupt:
            if manager.provisioner and (pid := getattr(manager.provisioner, "pid", None)):
                os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            raise
