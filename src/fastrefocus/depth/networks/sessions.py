"""Sessions of onnxruntime; the only module that imports it.

A network from outside gets a part of the memory only: a few bytes of a file can ask for any amount.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

from fastrefocus.arrays import FloatArray
from fastrefocus.parallel import interruptible

# From version 1.29 on onnxruntime sends telemetry unless told otherwise before it is imported; this library is offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

Session: TypeAlias = onnxruntime.InferenceSession

#: The memory that all networks from outside get together: this, or half of what the machine has.
_LARGEST_MEMORY = 16 * 2**30

#: The bytes of one constant that onnxruntime computes as it loads a network, which it does beside that memory.
_LARGEST_FOLDED = 2**26

#: Pixels of the input for each thread of our own networks. onnxruntime shares out less in such a way that the last bit
#: of the result depends on the number of threads, and nothing is gained by it.
_PIXELS_A_THREAD = 2**16


def threads_for(pixels: int, threads: int) -> int:
    """Return how many of `threads` one of our own networks is run on, so that its result does not depend on them."""
    return max(1, min(threads, pixels // _PIXELS_A_THREAD))


def open_session(source: str | bytes, threads: int, *, trusted: bool) -> Session:
    """Load a network on the CPU, interruptibly; onnxruntime raises exceptions of many types where it cannot.

    Parameters
    ----------
    source : str or bytes
        The ONNX file, or what is in it.
    threads : int
        How many threads the network runs on.
    trusted : bool
        The file comes with the package: it may have all memory, and keeps it, which is faster.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if not trusted:
        _limit_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(_LARGEST_FOLDED))

    def load() -> Session:
        # Without the fallback, which would print that there is none.
        return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"], enable_fallback=0)

    return interruptible(load, lambda: options.set_load_cancellation_flag(True))


def run_session(
    session: Session, outputs: list[str], inputs: Mapping[str, FloatArray], *, trusted: bool
) -> list[FloatArray]:
    """Return what a network answers, interruptibly; onnxruntime raises exceptions of many types where it cannot.

    Parameters
    ----------
    session : Session
        The network.
    outputs : list of str
        The names of what is asked for.
    inputs : mapping of str to ndarray
        The inputs by name.
    trusted : bool
        As for `open_session`; a network from outside gives its memory back after each run.
    """
    options = onnxruntime.RunOptions()
    if not trusted:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def stop() -> None:
        options.terminate = True

    return interruptible(lambda: session.run(outputs, inputs, options), stop)


def memory_limit() -> int:
    """Return the bytes that networks from outside may use."""
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # not on this system
        return _LARGEST_MEMORY // 2
    return min(_LARGEST_MEMORY, installed // 2)


@cache
def _limit_memory() -> None:
    """Make the allocator that networks from outside share."""
    settings = {"max_mem": memory_limit(), "arena_extend_strategy": 1}  # 1: takes as much as is asked for
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(settings))
