"""Which GPU is there, and whether ONNX Runtime as installed can use it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass

from spoton.doctor.finding import Finding, in_thread

ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider")


@dataclass(frozen=True, slots=True)
class Gpus:
    """names: as the NVIDIA driver reports them. driver: its version. providers: what ONNX Runtime was built with."""

    names: tuple[str, ...]
    driver: str
    providers: tuple[str, ...]

    @property
    def usable(self) -> tuple[str, ...]:
        """The providers that run on a GPU."""
        return tuple(one for one in self.providers if one in ON_GPU)


async def look() -> Gpus:
    """Ask the driver and ONNX Runtime."""
    providers = await in_thread(_providers)
    lines = [line.rpartition(",") for line in await _nvidia_smi()]
    driver = lines[0][2].strip() if lines else ""
    return Gpus(tuple(name.strip() for name, _, _ in lines), driver, tuple(providers))


async def check() -> Finding:
    """A GPU that nothing can use is worth a warning; none at all is not."""
    return judge(await look())


def judge(there: Gpus) -> Finding:
    """The finding for what is there; pure."""
    if not there.names:
        return Finding("gpu", "ok", "no NVIDIA driver here: networks run on the processor")
    found = f"{', '.join(there.names)}, driver {there.driver}"
    if not there.usable:
        return Finding(
            "gpu",
            "warning",
            f"{found}; ONNX Runtime as installed offers {', '.join(there.providers)} only",
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu, or take the image built with --target cuda",
        )
    return Finding("gpu", "ok", f"{found}; ONNX Runtime offers {', '.join(there.usable)}")


def _providers() -> list[str]:
    import onnxruntime  # takes a moment, and only the first call pays it

    return list(onnxruntime.get_available_providers())


async def _nvidia_smi() -> list[str]:
    """``name, driver version`` of each GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    process = await asyncio.create_subprocess_exec(
        program,
        "--query-gpu=name,driver_version",
        "--format=csv,noheader",
        stdout=-1,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = told.decode(errors="replace").splitlines() if not process.returncode else []
    return [line.strip() for line in lines if line.strip()]
