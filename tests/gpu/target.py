"""What the GPU tests and the table run on: CUDA, or in a dry run the CPU."""

import os

DRY_RUN = bool(os.environ.get("COURSEKIT_GPU_DRY_RUN"))
DEVICE = "cpu" if DRY_RUN else "cuda"


def why_not() -> str | None:
    """Why nothing can run here, or None if it can."""
    try:
        import torch
    except ModuleNotFoundError:
        return "this Python has no PyTorch"
    if DRY_RUN or torch.cuda.is_available():
        return None
    return f"PyTorch {torch.__version__} finds no CUDA device here"
