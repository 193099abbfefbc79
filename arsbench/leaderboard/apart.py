"""The process that runs apart: reads a request, gives up what it has no use for, does one task, says what came of it.

``python -m arsbench.leaderboard.apart FOLDER``, by :mod:`arsbench.leaderboard.sandbox` alone.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arsbench.errors import ArsbenchError
from arsbench.leaderboard.lockdown import lock_down
from arsbench.leaderboard.sandbox import REQUEST, RESULT

Task = Callable[[dict[str, Any], Path], dict[str, Any]]
NETWORK = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}


def main(folder: Path) -> None:
    """Does the task of ``folder/request.json`` and writes ``folder/result.json``."""
    request = json.loads((folder / REQUEST).read_text())
    limits = request["limits"]
    readable = [Path(path) for path in request.get("readable", ())]
    protections = lock_down(folder, readable, limits["processes"], limits["memory"], limits["disk"] // 2)
    own = os.getpid()
    try:
        result = TASKS[request["task"]](request, folder)
    except BaseException as error:
        if os.getpid() != own:  # a child that the method has forked
            os._exit(1)
        result = {"error": _sentence(error, request)}
    if os.getpid() != own:
        os._exit(1)
    temporary = folder / f"{RESULT}.tmp"
    temporary.write_text(json.dumps({**result, "protections": protections}))
    temporary.replace(folder / RESULT)
    # Threads that a method left behind do not keep the process.
    os._exit(0)


def _sentence(error: BaseException, request: dict[str, Any]) -> str:
    who, limits = request.get("who", "the task"), request["limits"]
    if isinstance(error, ArsbenchError):
        return str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"{who} asked for more than {limits['memory'] / (1 << 30):.3g} GiB of memory"
    if isinstance(error, OSError) and error.errno == errno.EAGAIN:
        return f"{who} started more than {limits['processes']} processes"
    if isinstance(error, SystemExit):
        called = str(error) if str(error).startswith("os.") else f"sys.exit({error.code!r})"
        return f"{who} wanted to end the process by {called}"
    lines = str(error).strip().splitlines()
    return f"{who} failed: {type(error).__name__}{': ' + lines[0][:500] if lines else ''}"


def _no_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: it names what was tried; what keeps the network away is the system."""
    if event in NETWORK:
        raise PermissionError("a method has no network: it tried to open a connection")


# --- tasks ----------------------------------------------------------------------------------------------------------


def nothing(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """To see which protections there are."""
    return {}


def rows(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Reads the parquet file ``path`` with exactly ``rows`` rows into ``rows.arrow``, uncompressed.

    A file of some kilobytes can unpack to any size: it unpacks here, within the limit of memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    try:
        # The pool of the C library is the one that the limit of memory binds at once.
        pa.set_memory_pool(pa.system_memory_pool())
        file = pq.ParquetFile(request["path"])
        if file.metadata.num_rows != request["rows"]:
            raise ArsbenchError(
                f"{request['path']} has {file.metadata.num_rows} rows, where the grid and the images make "
                f"{request['rows']}"
            )
        count = 0
        with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, file.schema_arrow) as writer:
            for batch in file.iter_batches(batch_size=16384, use_threads=False):
                count += len(batch)
                if count > request["rows"]:
                    raise ArsbenchError(f"{request['path']} holds more rows than it says")
                writer.write_batch(batch)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, MemoryError) or "malloc" in str(error):
            raise MemoryError from error
        raise ArsbenchError(
            f"{request['path']} cannot be read as parquet: {str(error).splitlines()[0][:200]}"
        ) from error
    return {}


def pictures(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Reads the PNG ``paths`` (set -> image -> path) into one ``SET.npy`` each, uint8 ``[n, size, size, 3]``."""
    import numpy as np

    from arsbench.faces.lossless import read_exact

    for number, paths in enumerate(request["paths"]):
        np.save(folder / f"{number}.npy", np.stack([read_exact(Path(path), request["size"]) for path in paths]))
    return {}


def protect(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Protects faces against each manipulator, into one ``NUMBER.npy`` each, uint8 ``[n, size, size, 3]``."""
    import numpy as np
    import torch

    from arsbench import registry
    from arsbench.faces.delivery import from_bytes
    from arsbench.leaderboard.protecting import delivered
    from arsbench.running.loading import make_manipulator, make_protector

    torch.set_num_threads(1)
    size = request["size"]
    pixels = np.frombuffer(bytearray.fromhex(request["faces"]), dtype=np.uint8).reshape(-1, size, size, 3)
    faces = from_bytes(torch.from_numpy(pixels))
    keys, epsilon, seed = request["keys"], request["epsilon"], request["seed"]
    device = torch.device("cpu")
    own, os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"], request["cache"]
    models = [
        make_manipulator(registry.find("manipulator", name), request["track"], device)
        for name in request["manipulators"]
    ]
    os.environ["XDG_CACHE_HOME"] = own
    sys.addaudithook(_no_network)
    method = registry.find("protector", request["method"])
    for number, model in enumerate(models):
        protector = make_protector(method, model, epsilon, seed)
        np.save(folder / f"{number}.npy", delivered(protector, method.name, epsilon, seed, faces, keys).numpy())
    return {"name": method.name}


def perturb(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Takes pictures through a perturbation's strongest level, into ``0.npy``, uint8 ``[n, size, size, 3]``."""
    import numpy as np
    import torch

    from arsbench import registry
    from arsbench.faces.delivery import from_bytes, to_bytes
    from arsbench.running.evaluate import perturbed
    from arsbench.running.loading import make_perturbation

    torch.set_num_threads(1)
    size = request["size"]
    pixels = np.frombuffer(bytearray.fromhex(request["faces"]), dtype=np.uint8).reshape(-1, size, size, 3)
    sys.addaudithook(_no_network)
    method = registry.find("perturbation", request["method"])
    parameter = method.cls.track_levels(request["track"])[-1]
    made = perturbed(make_perturbation(method), parameter, from_bytes(torch.from_numpy(pixels)), request["keys"])
    np.save(folder / "0.npy", to_bytes(made).numpy())
    return {"name": method.name}


TASKS: dict[str, Task] = {task.__name__: task for task in (nothing, rows, pictures, protect, perturb)}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
