"""When memory runs out, and how it is given back before the next model comes."""

import gc
import sys


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, of a device or of the machine."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    # torch.OutOfMemoryError is a RuntimeError; some allocators (MPS, the CPU's, cuDNN's) raise a plain one.
    words = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in words or "can't allocate memory" in words


def free_memory() -> None:
    """Collect what is no longer held, cycles included, and hand a GPU's cached blocks back."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
