"""Some common GPUs by their makers' data sheets, and what of that a run is taken to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cai.hardware import PEAK_TFLOPS


@dataclass(frozen=True)
class Kind:
    """A GPU that is not at hand."""

    name: str
    flops: float
    """A second, of dense matrix products in ``precision``, added up in fp32."""
    memory: float
    """Bytes. Data sheets say GB; taken as 10^9, which is what is left when the driver and error correction have theirs."""
    bandwidth: float
    """Bytes a second between its memory and its processors."""
    link: float
    """Bytes a second to another GPU of the machine, in one direction."""
    precision: Literal["bf16", "fp16"] = "bf16"


GB = 1e9
PCIE_3, PCIE_4 = 16 * GB, 32 * GB
"""Of 16 lanes, in one direction (PCI-SIG)."""


def _kind(name: str, memory: float, bandwidth: float, link: float, precision: Literal["bf16", "fp16"] = "bf16") -> Kind:
    """``memory`` in GB, ``bandwidth`` in GB/s."""
    return Kind(f"{name} {memory:g} GB", PEAK_TFLOPS[name] * 1e12, memory * GB, bandwidth * GB, link, precision)


KINDS = (
    _kind("T4", 16, 320, PCIE_3, "fp16"),  # NVIDIA T4 Tensor Core GPU, data sheet (March 2019); Turing has no bf16
    _kind("L4", 24, 300, PCIE_4),  # NVIDIA L4 Tensor Core GPU, data sheet: half of its figures "with sparsity"
    _kind("RTX 3090", 24, 936, PCIE_4),  # NVIDIA Ampere GA102 GPU Architecture, white paper, table 2; bridges left out
    _kind("RTX 4090", 24, 1008, PCIE_4),  # NVIDIA Ada GPU Architecture, white paper, appendix A; it has no NVLink
    _kind("A100", 40, 1555, 300 * GB),  # NVIDIA A100 Tensor Core GPU, data sheet, SXM4: NVLink 600 GB/s both ways
    _kind("A100", 80, 2039, 300 * GB),  # the same
    _kind("H100", 80, 3350, 450 * GB),  # NVIDIA H100 Tensor Core GPU, data sheet, SXM5: NVLink 900 GB/s both ways
)

OF_PEAK = 0.35
"""Share of the peak that a step's matrix products reach."""
OF_BANDWIDTH = 0.7
"""Share of the bandwidth of memory and links."""
OF_MEMORY = 0.9
"""Share of a GPU's memory that a step may take: the CUDA context, libraries' workspaces and fragments have the rest."""
LAUNCH = 6e-6
"""Seconds that an operation takes at least: Python and PyTorch send it off, without compilation."""

ASSUMED = (
    f"a step reaches {OF_PEAK:.0%} of the peak of dense matrix products (bf16; T4: fp16), {OF_BANDWIDTH:.0%} of the"
    f" bandwidth of memory and links, and {OF_MEMORY:.0%} of the memory; an operation takes {1e6 * LAUNCH:.0f} us at least;"
    " exchange is not hidden behind computing; one machine, no torch.compile, no evaluation, samples or checkpoints"
)
"""What the estimates rest on, in one line."""
